//! Links between the project's documents: each must lead to a file of the project, and to a heading of it where one is named.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{shell, workspace};

pub(crate) fn check() -> Result<()> {
    let root = workspace::root();
    let listed = shell::output(
        Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard", "*.md"]).current_dir(&root),
    )?;
    let files: Vec<_> = listed.lines().map(|line| root.join(line)).filter(|file| file.is_file()).collect();
    let broken = broken(&files)?;
    for line in &broken {
        shell::note(line.strip_prefix(&format!("{}/", root.display())).unwrap_or(line));
    }
    if !broken.is_empty() {
        bail!("{} links lead nowhere", broken.len());
    }
    shell::note(&format!("{} documents", files.len()));
    Ok(())
}

/// One line for each link that leads nowhere.
fn broken(files: &[PathBuf]) -> Result<Vec<String>> {
    let mut anchors: HashMap<PathBuf, Vec<String>> = HashMap::new();
    let mut broken = Vec::new();
    for file in files {
        let text = read(file)?;
        for (line, target) in links(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
            let aim = if path.is_empty() { file.clone() } else { file.parent().unwrap_or(Path::new("")).join(path) };
            let complaint = if !aim.exists() {
                Some("no such file")
            } else if let Some(anchor) = anchor.filter(|_| aim.extension().is_some_and(|end| end == "md")) {
                if !anchors.contains_key(&aim) {
                    anchors.insert(aim.clone(), headings(&read(&aim)?));
                }
                (!anchors[&aim].iter().any(|heading| heading == anchor)).then_some("no such heading")
            } else {
                None
            };
            if let Some(complaint) = complaint {
                broken.push(format!("{}:{line}: {target}: {complaint}", file.display()));
            }
        }
    }
    Ok(broken)
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The targets of inline links and reference definitions, with their line numbers; what stands in code is no link.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        // Every second piece between back-ticks is code.
        for piece in line.split('`').step_by(2) {
            found.extend(piece.match_indices("](").filter_map(|(at, sign)| {
                let target = &piece[at + sign.len()..];
                Some((number, target[..target.find(')')?].split_whitespace().next()?))
            }));
        }
        if let Some((_, target)) = line.strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
            found.extend(target.split_whitespace().next().map(|target| (number, target)));
        }
    }
    found
}

/// A document's headings, as links name them: lower case, blanks as hyphens, other signs gone.
fn headings(text: &str) -> Vec<String> {
    prose(text)
        .filter_map(|(_, line)| {
            let heading = line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ')?;
            let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            Some(kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect())
        })
        .collect()
}

/// The numbered lines outside fenced code.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().map(|(index, line)| (index + 1, line)).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = folder.path().join("README.md");
        std::fs::write(&file, text).expect("a file can be written");
        (folder, file)
    }

    #[test]
    fn a_link_to_a_file_that_is_not_there_is_told_with_its_line() {
        let (_folder, file) = document("# Title\n\nSee [that](missing.md) and [this](README.md).\n");
        let broken = broken(&[file]).expect("readable");
        assert_eq!(broken.len(), 1);
        assert!(broken[0].ends_with("README.md:3: missing.md: no such file"), "{}", broken[0]);
    }

    #[test]
    fn headings_are_checked_here_and_in_other_files() {
        let (folder, file) =
            document("[a](#title-two) [b](#nope) [c](other.md#how-its-done) [d](other.md#nope)\n# Title two\n");
        std::fs::write(folder.path().join("other.md"), "## How it's done\n").expect("a file can be written");
        let broken = broken(&[file]).expect("readable");
        assert_eq!(broken.len(), 2, "{broken:?}");
    }

    #[test]
    fn code_and_the_web_are_left_alone() {
        let text = "`[x](no.md)` [w](https://example.com/x) [m](mailto:a@example.com)\n```\n[y](no.md)\n```\n";
        let (_folder, file) = document(text);
        assert_eq!(broken(&[file]).expect("readable"), Vec::<String>::new());
    }

    #[test]
    fn reference_definitions_and_folders_are_links_too() {
        let (folder, file) = document("[one]: folder/\n[two]: absent/\n");
        std::fs::create_dir(folder.path().join("folder")).expect("a folder can be made");
        let broken = broken(&[file]).expect("readable");
        assert_eq!(broken.len(), 1, "{broken:?}");
    }
}

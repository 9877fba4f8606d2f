use std::collections::HashMap;
use std::sync::Arc;

/// Names by user id from the text of a `passwd(5)` file. NSS is not asked: it can block on LDAP, and
/// this answer is needed on the request path.
#[derive(Debug, Default)]
pub(crate) struct Users(HashMap<u32, Arc<str>>);

impl Users {
    /// Reads the lines that are well formed and skips the others, as the C library does.
    pub(crate) fn parse(passwd: &[u8]) -> Self {
        let mut names = HashMap::new();
        for line in passwd.split(|byte| *byte == b'\n') {
            let mut fields = line.split(|byte| *byte == b':');
            let (Some(name), Some(_password), Some(uid)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let Ok(Ok(uid)) = str::from_utf8(uid).map(str::parse) else { continue };
            // `+`, `-` mark NIS compatibility entries, `#` comments.
            if matches!(name.first(), None | Some(b'+' | b'-' | b'#')) {
                continue;
            }
            // The first of several names wins, as with getpwuid(3).
            names.entry(uid).or_insert_with(|| crate::caller::printable(&String::from_utf8_lossy(name)));
        }
        Self(names)
    }

    pub(crate) fn name(&self, uid: u32) -> Option<Arc<str>> {
        self.0.get(&uid).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_come_from_well_formed_lines_and_the_first_of_two_wins() {
        let users = Users::parse(
            b"root:x:0:0:root:/root:/bin/bash\ntoor:x:0:0::/root:/bin/sh\n\nbroken\nalice:x:1000:1000::/home/alice:\n\
              +nis:x:1001::::\n#off:x:1002:1::/:\nbob:x:many:1::/:\n:x:1003:1::/:",
        );
        assert_eq!(users.name(0).as_deref(), Some("root"));
        assert_eq!(users.name(1000).as_deref(), Some("alice"));
        for uid in [1001, 1002, 1003] {
            assert_eq!(users.name(uid), None, "{uid}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            Users::parse(&bytes);
        }
    }
}

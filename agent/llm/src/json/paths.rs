/// Paths through JSON and the field each leads to, as a tree. A path is keys joined by dots; `[]` after a key enters the
/// array there: `usage.iterations[].output_tokens`. Arrays around whole documents are entered by themselves.
pub(crate) struct Paths<F> {
    nodes: Vec<Node<F>>,
    in_any_case: bool,
}

struct Node<F> {
    children: Vec<(String, u16)>,
    /// A bit for each length that a child's key has, as far as there are bits.
    lengths: u64,
    element: Option<u16>,
    field: Option<F>,
}

impl<F: Copy> Paths<F> {
    pub(super) const ROOT: u16 = 0;

    pub(crate) fn new<P: AsRef<str>>(paths: impl IntoIterator<Item = (P, F)>) -> Self {
        let mut tree = Self { nodes: Vec::new(), in_any_case: false };
        let root = tree.add();
        tree.nodes[usize::from(root)].element = Some(root);
        for (path, field) in paths {
            let mut at = root;
            for step in path.as_ref().split('.') {
                let key = step.strip_suffix("[]").unwrap_or(step);
                at = tree.enter(at, key);
                if key != step {
                    at = tree.element(at).unwrap_or_else(|| {
                        let element = tree.add();
                        tree.nodes[usize::from(at)].element = Some(element);
                        element
                    });
                }
            }
            tree.nodes[usize::from(at)].field = Some(field);
        }
        tree
    }

    /// The same, where keys are found in whatever case they are written, as some servers find them.
    pub(crate) fn in_any_case(self) -> Self {
        Self { in_any_case: true, ..self }
    }

    /// Paths of objects' keys only, which may hold any text.
    pub(crate) fn of_keys<K: AsRef<str>>(paths: impl IntoIterator<Item = (Vec<K>, F)>) -> Self {
        let mut tree = Self { nodes: Vec::new(), in_any_case: false };
        let root = tree.add();
        tree.nodes[usize::from(root)].element = Some(root);
        for (keys, field) in paths {
            let at = keys.iter().fold(root, |at, key| tree.enter(at, key.as_ref()));
            tree.nodes[usize::from(at)].field = Some(field);
        }
        tree
    }

    /// The place of a key, made where it is not there.
    fn enter(&mut self, at: u16, key: &str) -> u16 {
        self.child(at, key.as_bytes()).unwrap_or_else(|| {
            let child = self.add();
            self.nodes[usize::from(at)].lengths |= length(key.as_bytes());
            self.nodes[usize::from(at)].children.push((key.to_owned(), child));
            child
        })
    }

    fn add(&mut self) -> u16 {
        self.nodes.push(Node { children: Vec::new(), lengths: 0, element: None, field: None });
        u16::try_from(self.nodes.len() - 1).expect("path tables have a few dozen entries")
    }

    pub(super) fn child(&self, node: u16, key: &[u8]) -> Option<u16> {
        let node = &self.nodes[usize::from(node)];
        if node.lengths & length(key) == 0 {
            return None;
        }
        let is_key =
            |name: &str| name.as_bytes() == key || (self.in_any_case && name.as_bytes().eq_ignore_ascii_case(key));
        node.children.iter().find(|(name, _)| is_key(name)).map(|&(_, child)| child)
    }

    pub(super) fn has_children(&self, node: u16) -> bool {
        !self.nodes[usize::from(node)].children.is_empty()
    }

    pub(super) fn element(&self, node: u16) -> Option<u16> {
        self.nodes[usize::from(node)].element
    }

    pub(super) fn field(&self, node: u16) -> Option<F> {
        self.nodes[usize::from(node)].field
    }
}

/// The bit of a key's length. All that are too long share the last.
fn length(key: &[u8]) -> u64 {
    1 << key.len().min(63)
}

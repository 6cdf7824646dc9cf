//! Where in the statement we are: a list of borrowed segments on the call stack, written out only for a violation.

/// A place in the statement.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path<'p> {
    /// The whole statement.
    Root,
    /// A member of an object.
    Key(&'p Path<'p>, &'p str),
    /// An element of an array.
    Index(&'p Path<'p>, usize),
}

impl<'p> Path<'p> {
    /// The member of that name.
    pub(super) fn key(&'p self, name: &'p str) -> Self {
        Self::Key(self, name)
    }

    /// The element of that number, from 0.
    pub(super) fn index(&'p self, index: usize) -> Self {
        Self::Index(self, index)
    }

    /// As a JSON pointer (RFC 6901).
    pub(super) fn pointer(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Key(parent, name) => {
                format!("{}/{}", parent.pointer(), name.replace('~', "~0").replace('/', "~1"))
            }
            Self::Index(parent, index) => format!("{}/{index}", parent.pointer()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Path;

    #[test]
    fn slashes_and_tildes_in_a_key_are_escaped() {
        let extensions = Path::Root.key("extensions");
        assert_eq!(extensions.key("http://a/~b").index(3).pointer(), "/extensions/http:~1~1a~1~0b/3");
    }
}

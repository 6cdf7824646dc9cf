//! A Merkle tree that only grows, as RFC 9162 has it (section 2.1): a leaf is SHA-256 of 00 and the entry's bytes, a node of 01 and
//! the two below it.

use serde::{Deserialize, Serialize};

use super::hash::Hash;

/// The hash of a leaf.
pub fn leaf(entry: &[u8]) -> Hash {
    Hash::of(&[&[0], entry])
}

fn node(left: Hash, right: Hash) -> Hash {
    Hash::of(&[&[1], &left.0, &right.0])
}

/// A tree without its leaves: what is needed to add further ones, and to tell its root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    size: u64,
    /// The roots of the full trees that it consists of, the largest first: one for each bit of the size that is set.
    peaks: Vec<Hash>,
}

impl Tree {
    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut full = leaf;
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.peaks.pop() else { break };
            full = node(left, full);
        }
        self.peaks.push(full);
        self.size += 1;
    }

    /// What stands at its top; of none SHA-256 of nothing.
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev().copied();
        let Some(last) = peaks.next() else { return Hash::of(&[]) };
        peaks.fold(last, |right, left| node(left, right))
    }

    /// Whether what was read can be a tree at all.
    pub fn is_sound(&self) -> bool {
        self.peaks.len() == self.size.count_ones() as usize
    }
}

/// The nodes beside the way from a leaf to the root, from below; `None` where there is no such leaf.
pub fn path(leaves: &[Hash], index: usize) -> Option<Vec<Hash>> {
    (index < leaves.len()).then(|| {
        let mut beside = Vec::new();
        let (mut leaves, mut index) = (leaves, index);
        while leaves.len() > 1 {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            if index < left.len() {
                beside.push(root(right));
                leaves = left;
            } else {
                beside.push(root(left));
                (leaves, index) = (right, index - left.len());
            }
        }
        beside.reverse();
        beside
    })
}

/// The root over these leaves.
pub fn root(leaves: &[Hash]) -> Hash {
    let mut tree = Tree::default();
    leaves.iter().for_each(|leaf| tree.push(*leaf));
    tree.root()
}

/// The root to which the way leads from a leaf (RFC 9162, 2.1.3.2); `None` where it is no way in a tree of that size.
pub fn root_by(path: &[Hash], leaf: Hash, index: u64, size: u64) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut at, mut last) = (index, size - 1);
    let mut root = leaf;
    for beside in path {
        if last == 0 {
            return None;
        }
        if at % 2 == 1 || at == last {
            root = node(*beside, root);
            while at % 2 == 0 && at != 0 {
                at /= 2;
                last /= 2;
            }
        } else {
            root = node(root, *beside);
        }
        at /= 2;
        last /= 2;
    }
    (last == 0).then_some(root)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|number| leaf(number.to_string().as_bytes())).collect()
    }

    /// RFC 9162, 2.1.1, word for word.
    fn by_the_book(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::of(&[]),
            [one] => *one,
            more => {
                let (left, right) = more.split_at(more.len().next_power_of_two() / 2);
                node(by_the_book(left), by_the_book(right))
            }
        }
    }

    /// The roots of certificate-transparency-go's `merkle/testdata` for these leaves.
    #[test]
    fn roots_are_those_that_others_compute() {
        let entries: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let expected = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let mut tree = Tree::default();
        assert_eq!(tree.root().to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (entry, root) in entries.into_iter().zip(expected) {
            tree.push(leaf(entry));
            assert_eq!(tree.root().to_string(), root);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn a_tree_that_grew_has_the_root_of_all_its_leaves_and_a_way_to_it_from_each(count in 1_usize..200) {
            let leaves = leaves(count);
            let root = root(&leaves);
            prop_assert_eq!(root, by_the_book(&leaves));
            for (index, leaf) in leaves.iter().enumerate() {
                let way = path(&leaves, index).unwrap();
                prop_assert!(way.len() <= 8);
                prop_assert_eq!(root_by(&way, *leaf, index as u64, count as u64), Some(root));
                let elsewhere = root_by(&way, *leaf, (index as u64 + 1) % count as u64, count as u64);
                prop_assert!(count == 1 || elsewhere != Some(root));
            }
            prop_assert_eq!(path(&leaves, count), None);
        }

        #[test]
        fn a_leaf_that_is_changed_left_out_added_or_moved_changes_the_root(count in 2_usize..100, at in 0_usize..100) {
            let leaves = leaves(count);
            let (at, root) = (at % (count - 1), super::root(&leaves));
            let changed = |change: &dyn Fn(&mut Vec<Hash>)| {
                let mut other = leaves.clone();
                change(&mut other);
                super::root(&other)
            };
            prop_assert_ne!(root, changed(&|leaves| leaves[at] = leaf(b"another")));
            prop_assert_ne!(root, changed(&|leaves| {
                leaves.remove(at);
            }));
            prop_assert_ne!(root, changed(&|leaves| leaves.insert(at, leaf(b"another"))));
            prop_assert_ne!(root, changed(&|leaves| leaves.swap(at, at + 1)));
        }
    }

    #[test]
    fn a_tree_is_kept_without_its_leaves_and_what_cannot_be_one_is_known() {
        let mut tree = Tree::default();
        leaves(11).into_iter().for_each(|leaf| tree.push(leaf));
        let kept = serde_json::to_string(&tree).unwrap();
        let read: Tree = serde_json::from_str(&kept).unwrap();
        assert_eq!((read.root(), read.size(), read.is_sound()), (root(&leaves(11)), 11, true));
        assert!(!Tree { size: 10, ..tree }.is_sound());
    }

    #[test]
    fn a_way_that_is_too_short_or_too_long_leads_to_no_root() {
        let leaves = leaves(5);
        let way = path(&leaves, 2).unwrap();
        assert_eq!(root_by(&way[..way.len() - 1], leaves[2], 2, 5), None);
        let longer: Vec<Hash> = way.iter().copied().chain([leaves[0]]).collect();
        assert_eq!(root_by(&longer, leaves[2], 2, 5), None);
        assert_eq!(root_by(&way, leaves[2], 5, 5), None);
    }
}

//! Merkle trees of RFC 6962: is this leaf in the tree with that root?

use ring::digest::{Context, SHA256};

/// A SHA-256 hash.
pub(super) type Hash = [u8; 32];

/// The longest audit path of any tree: sizes are of 64 bits.
pub(super) const PATH_MAX: usize = 64;

/// The hash of a leaf (RFC 6962, 2.1). The prefix keeps leaves and nodes apart.
pub(super) fn leaf_hash(leaf: &[u8]) -> Hash {
    hash(&[&[0], leaf])
}

/// The root that leaf number `index` of a tree of `size` leaves has, if `path` is its audit path
/// (RFC 9162, 2.1.3.2). `None` if the path is too long or too short for such a tree.
pub(super) fn root(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut root = leaf;
    for sibling in path {
        if last == 0 {
            return None;
        }
        if node % 2 == 1 || node == last {
            root = node_hash(sibling, &root);
            // The last node of a level without a sibling moves up unhashed.
            while node % 2 == 0 && node != 0 {
                node /= 2;
                last /= 2;
            }
        } else {
            root = node_hash(&root, sibling);
        }
        node /= 2;
        last /= 2;
    }
    (last == 0).then_some(root)
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    hash(&[&[1], left, right])
}

/// The SHA-256 hash of all parts, one after the other.
pub(super) fn hash(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = Hash::default();
    // Both have 32 bytes.
    hash.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 6962, 2.1: the definition, by recursion.
    fn tree_root(leaves: &[Hash]) -> Hash {
        if let [leaf] = leaves {
            return *leaf;
        }
        let (left, right) = leaves.split_at(split(leaves.len()));
        node_hash(&tree_root(left), &tree_root(right))
    }

    /// RFC 6962, 2.1.1.
    fn audit_path(leaves: &[Hash], index: usize) -> Vec<Hash> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let middle = split(leaves.len());
        let (left, right) = leaves.split_at(middle);
        let (mut path, sibling) = if index < middle {
            (audit_path(left, index), tree_root(right))
        } else {
            (audit_path(right, index - middle), tree_root(left))
        };
        path.push(sibling);
        path
    }

    /// The largest power of two below `size`.
    fn split(size: usize) -> usize {
        size.next_power_of_two() / 2
    }

    fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|number| leaf_hash(&number.to_be_bytes())).collect()
    }

    #[test]
    fn hashes_as_rfc_6962_does() {
        // The root of a tree of one empty leaf, from the certificate transparency reference tests.
        let empty = leaf_hash(b"").map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(empty, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_included_and_only_at_its_place() {
        for size in 1..=33 {
            let leaves = leaves(size);
            let expected = tree_root(&leaves);
            for index in 0..size {
                let path = audit_path(&leaves, usize::try_from(index).unwrap());
                let leaf = leaves[usize::try_from(index).unwrap()];
                assert_eq!(root(leaf, index, size, &path), Some(expected), "{index}/{size}");
                for other in (0..=size).filter(|other| *other != index) {
                    assert_ne!(root(leaf, other, size, &path), Some(expected), "{index} {other}");
                }
                let mut longer = path.clone();
                longer.push([0; 32]);
                assert_eq!(root(leaf, index, size, &longer), None, "{index}/{size}");
                if let Some((_, shorter)) = path.split_last() {
                    assert_eq!(root(leaf, index, size, shorter), None, "{index}/{size}");
                }
            }
        }
    }

    #[test]
    fn the_largest_sizes_do_not_overflow() {
        assert_eq!(root([0; 32], u64::MAX, u64::MAX, &[]), None);
        assert!(root([0; 32], u64::MAX - 1, u64::MAX, &[[0; 32]; 64]).is_none());
        assert!(root([0; 32], 0, u64::MAX, &[[0; 32]; 64]).is_some());
    }

    proptest! {
        #[test]
        fn no_changed_path_leads_to_the_root(
            size in 2_u64..200, index in any::<u64>(), at in any::<usize>(), bit in 0..256_usize,
        ) {
            let leaves = leaves(size);
            let index = index % size;
            let mut path = audit_path(&leaves, usize::try_from(index).unwrap());
            let at = at % path.len();
            path[at][bit / 8] ^= 1 << (bit % 8);
            let leaf = leaves[usize::try_from(index).unwrap()];
            prop_assert_ne!(root(leaf, index, size, &path), Some(tree_root(&leaves)));
        }
    }
}

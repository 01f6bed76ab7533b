//! How scopes relate to each other, for whoever judges a policy before it is used. No verdict depends
//! on it.

use std::cmp::Ordering;

use super::{Part, Pattern, Scope};

impl Scope {
    /// Does this scope speak of every repository that `other` speaks of?
    pub fn covers(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Pattern::Everything, _) => true,
            (_, Pattern::Everything) => false,
            (
                Pattern::Names { host, path },
                Pattern::Names { host: other_host, path: other_path },
            ) => parts_cover(host, other_host) && parts_cover(path, other_path),
        }
    }

    /// Is there a repository that both scopes speak of?
    pub fn overlaps(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Pattern::Everything, _) | (_, Pattern::Everything) => true,
            (
                Pattern::Names { host, path },
                Pattern::Names { host: other_host, path: other_path },
            ) => parts_overlap(host, other_host) && parts_overlap(path, other_path),
        }
    }

    /// Of a repository that both scopes speak of, is it this one that counts?
    pub fn is_closer_than(&self, other: &Self) -> bool {
        self.compare_specificity(other) == Ordering::Greater
    }

    /// Two scopes that together speak of what this one does, and are both closer: of `a/**`, `a/*` and
    /// `a/*/**`. `None` of a scope that does not end so.
    pub fn halves(&self) -> Option<[Self; 2]> {
        let Pattern::Names { host, path } = &self.0 else { return None };
        let (Part::Rest, before) = path.split_last()? else { return None };
        let with = |end: &[Part]| {
            Self(Pattern::Names { host: host.clone(), path: [before, end].concat() })
        };
        Some([with(&[Part::One]), with(&[Part::One, Part::Rest])])
    }
}

fn parts_cover(wider: &[Part], narrower: &[Part]) -> bool {
    match (wider, narrower) {
        ([], []) | ([Part::Rest, ..], [_, ..]) => true,
        ([Part::One, wider @ ..], [Part::One | Part::Literal(_), narrower @ ..]) => {
            parts_cover(wider, narrower)
        }
        ([Part::Literal(a), wider @ ..], [Part::Literal(b), narrower @ ..]) if a == b => {
            parts_cover(wider, narrower)
        }
        _ => false,
    }
}

fn parts_overlap(a: &[Part], b: &[Part]) -> bool {
    match (a, b) {
        ([], []) | ([Part::Rest, ..], [_, ..]) | ([_, ..], [Part::Rest, ..]) => true,
        ([Part::Literal(a), ..], [Part::Literal(b), ..]) if a != b => false,
        ([_, a @ ..], [_, b @ ..]) => parts_overlap(a, b),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(scope: &str, repository: &str) -> bool {
        scope.parse::<Scope>().unwrap().matches(&repository.parse().unwrap())
    }

    #[test]
    fn covering_and_overlapping_agree_with_matching() {
        let scopes = [
            "x.r.io/a",
            "x.r.io/a/b",
            "x.r.io/a/*",
            "x.r.io/a/**",
            "x.r.io/*",
            "x.r.io/*/b",
            "x.r.io/**",
            "*.r.io/**",
            "*.r.io/a/b",
            "x.*.io/*/*",
            "*",
        ];
        let repositories = [
            "x.r.io/a",
            "x.r.io/b",
            "x.r.io/a/b",
            "x.r.io/a/c",
            "x.r.io/c/b",
            "x.r.io/a/b/c",
            "x.r.io/c/d",
            "y.r.io/a/b",
            "y.r.io/b",
            "x.y.io/a/b",
            "z.io/a",
        ];
        for wider in scopes {
            for narrower in scopes {
                let both: Vec<_> =
                    [wider, narrower].map(|text| text.parse::<Scope>().unwrap()).into();
                let all = repositories
                    .iter()
                    .filter(|name| matches(narrower, name))
                    .all(|name| matches(wider, name));
                let any =
                    repositories.iter().any(|name| matches(narrower, name) && matches(wider, name));
                assert_eq!(both[0].covers(&both[1]), all, "{wider} covers {narrower}");
                assert_eq!(both[0].overlaps(&both[1]), any, "{wider} overlaps {narrower}");
                if all && wider != narrower {
                    assert!(both[1].is_closer_than(&both[0]), "{narrower} is closer than {wider}");
                }
            }
        }
        let halves = "r.io/a/**".parse::<Scope>().unwrap().halves().unwrap();
        assert_eq!(halves.map(|half| half.to_string()), ["r.io/a/*", "r.io/a/*/**"]);
    }
}

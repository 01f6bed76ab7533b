//! Scopes of trust policies: what parses is shown as itself and matches without panic.
#![no_main]

use civ_oci::Repository;
use civ_policy::Scope;

libfuzzer_sys::fuzz_target!(|input: (&str, &str)| {
    let (scope, repository) = input;
    if let Ok(scope) = scope.parse::<Scope>() {
        if let Ok(repository) = repository.parse::<Repository>() {
            let _ = scope.matches(&repository);
        }
        assert_eq!(scope.to_string().parse(), Ok(scope));
    }
});

//! What a source names, however it is written: every path, with its `use` trees taken apart, every
//! macro and everything that is called. Read from tokens, so that neither `use std::{env}` nor a line
//! break, an alias or a macro hides anything. Tests within the source are passed over.

use std::collections::BTreeSet;
use std::iter::Peekable;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// What a source names.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Paths as far as they go without generics, such as `std::env::var`; of one name, too.
    pub(super) paths: BTreeSet<String>,
    /// Macros by their last name, such as `env`.
    pub(super) macros: BTreeSet<String>,
    /// The last name of whatever stands before a parenthesis or behind a dot.
    pub(super) called: BTreeSet<String>,
}

impl Names {
    /// What the source `text` names.
    pub(super) fn of(text: &str) -> Self {
        let tokens: TokenStream = text.parse().expect("it is Rust");
        let mut names = Self::default();
        names.walk(tokens, "");
        names
    }

    fn walk(&mut self, tokens: TokenStream, prefix: &str) {
        let mut tokens = tokens.into_iter().peekable();
        let mut is_behind_dot = false;
        while let Some(token) = tokens.next() {
            match token {
                // A keyword, behind which a path may begin with colons.
                TokenTree::Ident(ident) if ident == "use" => while takes(&mut tokens, ':') {},
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    let is_of_tests = matches!(
                        tokens.peek(),
                        Some(TokenTree::Group(group)) if is_for_tests(&group.stream())
                    );
                    if is_of_tests {
                        skip_item(&mut tokens);
                    }
                }
                TokenTree::Ident(ident) => {
                    self.path(prefix, &ident.to_string(), &mut tokens, is_behind_dot);
                }
                TokenTree::Group(group) => self.walk(group.stream(), ""),
                TokenTree::Punct(punct) => {
                    is_behind_dot = punct.as_char() == '.';
                    continue;
                }
                TokenTree::Literal(_) => {}
            }
            is_behind_dot = false;
        }
    }

    /// A path that begins with `first`.
    fn path(
        &mut self,
        prefix: &str,
        first: &str,
        tokens: &mut Peekable<impl Iterator<Item = TokenTree>>,
        is_behind_dot: bool,
    ) {
        let mut path =
            if prefix.is_empty() { first.to_owned() } else { format!("{prefix}::{first}") };
        let mut last = first.to_owned();
        let mut goes_on = false;
        while takes(tokens, ':') {
            // Of two colons; a single one states a type.
            if !takes(tokens, ':') {
                break;
            }
            match tokens.peek() {
                Some(TokenTree::Ident(ident)) => last = ident.to_string(),
                Some(TokenTree::Punct(punct)) if punct.as_char() == '*' => {
                    "*".clone_into(&mut last);
                }
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                    self.walk(group.stream(), &path);
                    tokens.next();
                    goes_on = true;
                    break;
                }
                _ => break,
            }
            tokens.next();
            path = format!("{path}::{last}");
        }
        match tokens.peek() {
            Some(TokenTree::Punct(punct)) if punct.as_char() == '!' => {
                self.macros.insert(last.clone());
            }
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => {
                self.called.insert(last.clone());
            }
            _ => {}
        }
        if is_behind_dot {
            self.called.insert(last);
        }
        if !goes_on {
            self.paths.insert(path.strip_suffix("::self").unwrap_or(&path).to_owned());
        }
    }
}

fn takes(tokens: &mut Peekable<impl Iterator<Item = TokenTree>>, character: char) -> bool {
    let is_it = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == character);
    tokens.next_if(is_it).is_some()
}

/// Is it exactly `cfg(test)`?
fn is_for_tests(attribute: &TokenStream) -> bool {
    attribute.to_string().replace(' ', "") == "cfg(test)"
}

/// Passes over the item behind an attribute.
fn skip_item(tokens: &mut impl Iterator<Item = TokenTree>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => return,
            TokenTree::Punct(punct) if punct.as_char() == ';' => return,
            _ => {}
        }
    }
}

#[test]
fn no_way_of_writing_hides_a_name() {
    for (text, path) in [
        ("use std::env;", "std::env"),
        ("use std::{env, process::Command};", "std::env"),
        ("use std::{env, process::Command};", "std::process::Command"),
        ("use std::{io::{self, Read}, fmt};", "std::io"),
        ("use ::std::time::SystemTime as Clock;", "std::time::SystemTime"),
        ("use std as other;", "std"),
        ("use std::{self as other};", "std"),
        ("extern crate std as other;", "std"),
        ("use std::time::*;", "std::time::*"),
        ("use {std::fmt, std::net::TcpStream};", "std::net::TcpStream"),
        ("fn a() { std ::\n env\n::var(\"X\"); }", "std::env::var"),
        ("fn a(b: std::net::UdpSocket) {}", "std::net::UdpSocket"),
        ("macro_rules! m { () => { std::process::exit(0) } }", "std::process::exit"),
        ("#[cfg(not(test))] mod a { use std::env; }", "std::env"),
        ("#[cfg(test)] mod a { } use std::env;", "std::env"),
        ("mod a { fn b() { c!(std::env::args()) } }", "std::env::args"),
        ("fn a() { request(Method::POST) }", "Method::POST"),
        ("use http::Method::{GET, POST};", "http::Method::POST"),
    ] {
        assert!(Names::of(text).paths.contains(path), "{text}: {:?}", Names::of(text).paths);
    }
    for text in ["agent.method(\"POST\")", "agent . method ::<A>(b)", "Builder::method(agent, b)"] {
        assert!(Names::of(text).called.contains("method"), "{text}");
    }
    for text in ["env!(\"X\")", "std::env! {\"X\"}", "concat!(a, env!(\"X\"))"] {
        assert!(Names::of(text).macros.contains("env"), "{text}");
    }
    let tests = "#[cfg(test)]\n#[allow(x)]\nmod tests { use std::env; } #[cfg(test)] use std::fs;";
    let quoted = "/// std::env\nconst A: &str = \"std::env::var(1)\"; // std::env";
    for text in [tests, quoted] {
        assert!(!Names::of(text).paths.iter().any(|path| path.starts_with("std")), "{text}");
    }
}

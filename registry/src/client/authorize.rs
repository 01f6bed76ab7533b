//! What a registry that asks for credentials is answered: a token, which its token server gives to
//! anybody, or what an [`Authorizer`](crate::Authorizer) has.

use std::sync::atomic::Ordering;
use std::time::Instant;

use serde::Deserialize;
use ureq::Body;
use ureq::http::Response;
use ureq::http::header::WWW_AUTHENTICATE;

use super::{Authorization, Client, Query};
use crate::address::without_secrets;
use crate::error::TokenProblem;
use crate::transport::{self, read_bounded};
use crate::{Challenge, Error};

impl Client {
    /// Meets the challenge of a 401 answer.
    pub(super) fn authorize(
        &self,
        query: &Query<'_>,
        response: &Response<Body>,
    ) -> Result<(), Error> {
        let unauthorized = || self.unauthorized(query, 401);
        let challenge = response
            .headers()
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .find_map(|header| Challenge::parse(header.to_str().ok()?))
            .ok_or_else(unauthorized)?;
        let of_somebody = self.ask_authorizer(query, &challenge)?;
        let (header, of_somebody) = if let Some(header) = of_somebody {
            (header, true)
        } else {
            let scope = format!("repository:{}:pull", query.repository.path());
            let url = challenge.token_url(&scope).ok_or_else(unauthorized)?;
            (format!("Bearer {}", self.fetch_token(query, &url)?), false)
        };
        if header.len() > transport::REQUEST_PART_MAX {
            let what = query.what.to_owned();
            return Err(Error::Token { what, problem: TokenProblem::TooLarge });
        }
        let repository = query.repository.clone();
        *self.authorization.borrow_mut() = Some(Authorization { repository, header, of_somebody });
        Ok(())
    }

    fn ask_authorizer(
        &self,
        query: &Query<'_>,
        challenge: &Challenge,
    ) -> Result<Option<String>, Error> {
        let Some(authorizer) = &self.authorizer else { return Ok(None) };
        let asked = Instant::now();
        let answer = authorizer.authorization(challenge, query.repository);
        self.deadline.set(self.deadline.get() + asked.elapsed());
        answer.map_err(|source| Error::Authorizer { what: query.what.to_owned(), source })
    }

    pub(super) fn unauthorized(&self, query: &Query<'_>, status: u16) -> Error {
        let authorization = self.authorization.borrow();
        let of_somebody = authorization.as_ref().is_some_and(|known| known.of_somebody);
        Error::Unauthorized { what: query.what.to_owned(), status, of_somebody }
    }

    fn fetch_token(&self, query: &Query<'_>, url: &str) -> Result<String, Error> {
        let token_error = |problem| Error::Token { what: query.what.to_owned(), problem };
        self.check_target(query, url)?;
        let limit = self.limits.token_requests;
        if self.token_requests.get() >= limit {
            return Err(token_error(TokenProblem::TooOften { limit }));
        }
        self.token_requests.set(self.token_requests.get() + 1);
        self.counter.fetch_add(1, Ordering::Relaxed);
        let time_left = self.time_left(query)?;
        let request = self.agent.get(url).config().timeout_global(Some(time_left)).build();
        let response = match request.call() {
            Ok(response) => response,
            Err(source) => return Err(self.token_transport_error(query, url, source)),
        };
        let status = response.status().as_u16();
        if status != 200 {
            return Err(token_error(TokenProblem::Status(status)));
        }
        let body = read_bounded(response, self.limits.error_body)
            .map_err(|source| self.token_transport_error(query, url, source))?
            .ok_or_else(|| token_error(TokenProblem::TooLarge))?;
        let answer: TokenAnswer =
            serde_json::from_slice(&body).map_err(|_| token_error(TokenProblem::Malformed))?;
        answer
            .token
            .or(answer.access_token)
            .filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()))
            .ok_or_else(|| token_error(TokenProblem::Malformed))
    }

    fn token_transport_error(&self, query: &Query<'_>, url: &str, source: ureq::Error) -> Error {
        let what = query.what.to_owned();
        match source {
            ureq::Error::Io(error) if transport::is_within_machine(&error) => {
                Error::ForbiddenTarget { what, target: without_secrets(url) }
            }
            ureq::Error::Timeout(_) if self.deadline_passed() => Error::Deadline { what },
            source => Error::Token { what, problem: TokenProblem::Unreachable(source) },
        }
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

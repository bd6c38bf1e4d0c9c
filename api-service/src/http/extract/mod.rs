//! What handlers get: who asks, in which version, and the parts of the request, checked.

pub(in crate::http) mod base_url;
mod caller;
mod json;
pub(in crate::http) mod microversion;
mod path;
mod query;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, Uri};
use common::domain::TraceParent;

pub(in crate::http) use json::JsonBody;
pub(in crate::http) use path::{Key, KeyPair, parse_id};
pub(in crate::http) use query::Query;

use super::error::ApiError;
use super::links::Links;
use super::url::InProject;
use crate::state::AppState;
use crate::store::{Caller, Scope};
use microversion::Microversion;

/// What every API request says besides its own subject.
#[derive(Debug, Clone)]
pub(in crate::http) struct Context {
    /// The version in force.
    pub(in crate::http) version: Microversion,
    /// Who asks.
    pub(in crate::http) caller: Caller,
    /// How links begin.
    pub(in crate::http) links: Links,
}

impl Context {
    /// Reads it off a request; `version` was read before, for the answer's headers.
    pub(in crate::http) fn read(
        state: &AppState,
        version: Microversion,
        (request_id, traceparent): (&str, Option<TraceParent>),
        uri: &Uri,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Self, ApiError> {
        let in_url = extensions.get::<InProject>();
        let auth = &state.settings.auth;
        let caller = caller::of_request(auth, headers, in_url, request_id, traceparent)?;
        let api = &state.settings.api;
        let base = base_url::of_request(api.public_endpoint.as_deref(), uri, headers, api.listen);
        let project = in_url.map(|InProject(project)| project.clone());
        Ok(Self {
            version,
            caller,
            links: Links::new(base, project),
        })
    }

    /// Where the caller may look things up by id: its own project, and everywhere as an administrator.
    pub(in crate::http) fn reach(&self) -> Scope {
        if self.caller.is_admin {
            Scope::All
        } else {
            self.own_project()
        }
    }

    /// The caller's project.
    pub(in crate::http) fn own_project(&self) -> Scope {
        Scope::Project(self.caller.project_id.clone())
    }

    /// Refuses who is no administrator, naming the policy.
    pub(in crate::http) fn require_admin(&self, policy: &'static str) -> Result<(), ApiError> {
        if self.caller.is_admin {
            Ok(())
        } else {
            Err(ApiError::Forbidden(policy))
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Context {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let context = parts.extensions.get::<Self>().cloned();
        context.ok_or_else(|| ApiError::Internal("the route is outside of the API".to_owned()))
    }
}

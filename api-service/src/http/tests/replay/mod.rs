//! Every exchange that was recorded with a real Cinder, asked again.
//!
//! ```text
//! tests/fixtures/api-recordings ─► recording ─► scene: the rows it speaks of ─► our router
//!                                                                                    │
//! docs/clients.md, one table ◄─ each difference must be a row, each row a difference ◄┘ compare
//! ```
//!
//! Each is asked on its own, of a database that holds what the reference's held at that moment as far as the request
//! can see it. What is compared is status, error, headers, members, types, and values where they are no ids or times.

mod compare;
mod knowledge;
mod recording;
mod rows;
mod scene;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use axum::http::header;
use axum::middleware::map_request;
use axum::{Router, extract::Request};
use serde_json::Value;
use tower::ServiceExt as _;

use super::{Answer, Api, answer};
use crate::http::extract::Context;
use crate::http::router::{routes, surrounded};
use compare::{Difference, differences};
use knowledge::Knowledge;
use recording::Exchange;
use scene::{Given, Worker};
use table::Deviation;

/// The API as an administrator and as a member have it: authentication is off, so roles are put in by hand.
struct Roles {
    api: Api,
    member: Router,
    /// Its worker was seen, and is gone.
    left: Api,
    /// It never had one.
    idle: Api,
}

impl Roles {
    async fn new() -> Self {
        let api = Api::new().await;
        let left = Api::without_workers(|_| {}).await;
        left.worker_was_seen("nova").await;
        let idle = Api::without_workers(|_| {}).await;
        let demoted = routes().layer(map_request(|mut request: Request| async {
            if let Some(context) = request.extensions_mut().get_mut::<Context>() {
                context.caller.is_admin = false;
            }
            request
        }));
        let member = surrounded(demoted, api.state.clone());
        Self {
            api,
            member,
            left,
            idle,
        }
    }

    /// Arranges the scene and asks.
    async fn ask(&self, exchange: &Exchange, known: &Knowledge, given: &Given) -> Answer {
        let api = match given.worker {
            Worker::Up => &self.api,
            Worker::Down => &self.left,
            Worker::Never => &self.idle,
        };
        let default = &api.state.settings.auth.default_project;
        let rows = scene::of(exchange, known, given, default);
        let mut tx = api.state.store.write().await.unwrap();
        tx.arrange_nothing().await;
        for (table, row) in rows {
            tx.arrange(table, &row).await;
        }
        tx.commit().await.unwrap();
        let is_member = !exchange.is_admin() && exchange.who.is_some();
        let router = match is_member && given.worker == Worker::Up {
            true => &self.member,
            false => &api.router,
        };
        answer(router.clone().oneshot(request(exchange)).await.unwrap()).await
    }
}

fn request(exchange: &Exchange) -> Request {
    let mut request = Request::builder()
        .method(exchange.request.method.as_str())
        .uri(&exchange.request.path)
        .header(header::HOST, "controller:8776");
    for (name, value) in &exchange.request.headers {
        if name != "x-auth-token" {
            request = request.header(name, value);
        }
    }
    if let Some(token) = exchange.token() {
        request = request.header("x-auth-token", token);
    }
    let body = match &exchange.request.body {
        Value::Null => Body::empty(),
        body => match body["__text__"].as_str() {
            Some(text) => Body::from(text.to_owned()),
            None => Body::from(body.to_string()),
        },
    };
    request.body(body).unwrap()
}

#[tokio::test]
async fn every_recorded_exchange_is_answered_as_cinder_did_or_the_table_says_where_not() {
    let all = recording::all();
    let known = Knowledge::of(&all);
    let givens: BTreeMap<String, Given> =
        serde_json::from_str(include_str!("givens.json")).unwrap();
    let names: BTreeSet<&str> = all.iter().map(|exchange| exchange.name.as_str()).collect();
    assert_eq!(
        names.len(),
        all.len(),
        "each exchange has a name of its own"
    );
    for name in givens.keys() {
        assert!(names.contains(name.as_str()), "`{name}` was not recorded");
    }
    let roles = Roles::new().await;
    let mut table = table::deviations();
    let mut unlisted: Vec<(&str, Difference)> = Vec::new();
    let mut listed = 0;
    for exchange in &all {
        let given = givens.get(&exchange.name).cloned().unwrap_or_default();
        let ours = roles.ask(exchange, &known, &given).await;
        let found = differences(&exchange.response, &ours);
        let mut is_listed = false;
        for difference in found {
            let row = |row: &mut Deviation| row.covers(&exchange.name, &difference);
            match table.iter_mut().any(row) {
                true => is_listed = true,
                false => unlisted.push((&exchange.name, difference)),
            }
        }
        listed += usize::from(is_listed);
    }
    let report: String = unlisted
        .iter()
        .map(|(name, difference)| {
            let Difference {
                place,
                theirs,
                ours,
            } = difference;
            format!("{name} | {place} | Cinder: {theirs} | here: {ours}\n")
        })
        .collect();
    assert!(
        unlisted.is_empty(),
        "not as Cinder and not in the table:\n{report}"
    );
    let idle: Vec<_> = table.iter().flat_map(Deviation::idle).collect();
    assert!(
        idle.is_empty(),
        "in the table, and nothing differs by it: {idle:#?}"
    );
    assert_eq!(
        (all.len(), listed),
        (REPLAYED, DEVIATING),
        "how many are replayed, and how many of them a row of the table is about"
    );
}

const REPLAYED: usize = 558;
const DEVIATING: usize = 136;

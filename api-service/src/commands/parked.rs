//! `parked`: messages that nobody could handle.

use std::io::Write;

use anyhow::{Context, bail, ensure};
use serde_json::json;
use uuid::Uuid;

use super::table::{self, time};
use crate::cli::{AsJson, Parked, Which};
use crate::store::{ParkedMessage, RedriveError, Store};

const HEADS: [&str; 5] = ["ID", "PARKED", "KEY", "CODE", "REASON"];

pub(super) async fn run(
    store: &Store,
    command: &Parked,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    match command {
        Parked::List(form) => list(store, *form, out).await,
        Parked::Show { id } => {
            let message = store.parked_message(*id).await?;
            let message = message.with_context(|| format!("no message {id} is parked"))?;
            super::print_json(&message, out)
        }
        Parked::Redrive(which) => {
            // One that cannot be sent is no reason to leave those behind it.
            let mut refused = Vec::new();
            for id in ids(store, which).await? {
                match store.redrive_parked(id).await {
                    Ok(()) => super::print(&format!("{id} is sent once more"), out)?,
                    Err(RedriveError::Store(error)) => return Err(error.into()),
                    Err(why) => refused.push(why.to_string()),
                }
            }
            ensure!(refused.is_empty(), "{}", refused.join("\n"));
            Ok(())
        }
        Parked::Drop(which) => {
            for id in ids(store, which).await? {
                if !store.drop_parked(id).await? {
                    bail!("no message {id} is parked");
                }
                super::print(&format!("{id} is dropped"), out)?;
            }
            Ok(())
        }
    }
}

async fn list(store: &Store, form: AsJson, out: &mut impl Write) -> anyhow::Result<()> {
    let messages = store.parked_messages().await?;
    if form.json {
        return super::print_json(&json!({"parked": messages}), out);
    }
    let rows: Vec<_> = messages.iter().map(cells).collect();
    super::print(&table::lines(HEADS, &rows), out)
}

fn cells(message: &ParkedMessage) -> [String; 5] {
    [
        message.id.to_string(),
        time(message.parked_at),
        message.routing_key.clone(),
        message.code.clone(),
        message.reason.clone(),
    ]
}

async fn ids(store: &Store, which: &Which) -> anyhow::Result<Vec<Uuid>> {
    if !which.all {
        return Ok(which.ids.clone());
    }
    let messages = store.parked_messages().await?;
    Ok(messages.into_iter().map(|message| message.id).collect())
}

//! Quotas: what a project has is counted from its live rows, in the transaction that adds one.

use common::domain::ProjectId;
use sqlx::AnyConnection;

use super::row::Columns;
use super::{Store, StoreError, Tx, failed};
use crate::rules::{QuotaLimit, QuotaUse, Usage};

async fn usage(
    conn: &mut AnyConnection,
    sql: &'static str,
    project: &ProjectId,
) -> Result<Usage, StoreError> {
    let row = sqlx::query(sql)
        .bind(project.to_string())
        .fetch_one(conn)
        .await
        .map_err(failed("count what a project has"))?;
    let row = Columns(&row);
    Ok(Usage {
        count: row.int("n")?,
        gigabytes: row.int("gigabytes")?,
    })
}

async fn quota_use(
    conn: &mut AnyConnection,
    defaults: &common::config::Quota,
    project: &ProjectId,
) -> Result<QuotaUse, StoreError> {
    let mut backups_limit = QuotaLimit {
        count: defaults.backups,
        gigabytes: defaults.backup_gigabytes,
    };
    let mut volumes_limit = QuotaLimit {
        count: defaults.volumes,
        gigabytes: defaults.gigabytes,
    };
    let mut snapshots_limit = defaults.snapshots;
    let own = sqlx::query("SELECT resource, hard_limit FROM quotas WHERE project_id = $1")
        .bind(project.to_string())
        .fetch_all(&mut *conn)
        .await
        .map_err(failed("load a project's limits"))?;
    for row in &own {
        let row = Columns(row);
        let limit = row.int("hard_limit")?;
        match row.text("resource")?.as_str() {
            "backups" => backups_limit.count = limit,
            "backup_gigabytes" => backups_limit.gigabytes = limit,
            "volumes" => volumes_limit.count = limit,
            "snapshots" => snapshots_limit = limit,
            "gigabytes" => volumes_limit.gigabytes = limit,
            _ => {}
        }
    }
    let backups = usage(
        conn,
        "SELECT COUNT(*) AS n, CAST(COALESCE(SUM(size_gib), 0) AS BIGINT) AS gigabytes \
         FROM backups WHERE project_id = $1 AND deleted_at IS NULL",
        project,
    )
    .await?;
    let mut volumes = usage(
        conn,
        "SELECT COUNT(*) AS n, CAST(COALESCE(SUM(size_gib), 0) AS BIGINT) AS gigabytes \
         FROM volumes WHERE project_id = $1 AND deleted_at IS NULL",
        project,
    )
    .await?;
    let snapshots = usage(
        conn,
        "SELECT COUNT(*) AS n, CAST(COALESCE(SUM(size_gib), 0) AS BIGINT) AS gigabytes \
         FROM snapshots WHERE project_id = $1 AND deleted_at IS NULL",
        project,
    )
    .await?;
    volumes.gigabytes += snapshots.gigabytes;
    Ok(QuotaUse {
        backups,
        backups_limit,
        volumes,
        volumes_limit,
        snapshots: snapshots.count,
        snapshots_limit,
    })
}

impl Store {
    /// What a project has, and may have.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn quota_usage(&self, project: &ProjectId) -> Result<QuotaUse, StoreError> {
        let mut conn = self.read().await?;
        quota_use(&mut conn, &self.settings().quota, project).await
    }

    /// Gives a project limits of its own, by name; -1 is none. What is not named stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_quota(
        &self,
        project: &ProjectId,
        limits: &[(&str, i64)],
    ) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        for (resource, limit) in limits {
            sqlx::query(
                "INSERT INTO quotas (project_id, resource, hard_limit) VALUES ($1, $2, $3) \
                 ON CONFLICT (project_id, resource) DO UPDATE SET hard_limit = excluded.hard_limit",
            )
            .bind(project.to_string())
            .bind((*resource).to_owned())
            .bind(*limit)
            .execute(tx.conn())
            .await
            .map_err(failed("set a project's limits"))?;
        }
        tx.commit().await
    }
}

impl Tx {
    /// What a project has, and may have; stays true until this change is committed.
    pub(super) async fn quota_use(&mut self, project: &ProjectId) -> Result<QuotaUse, StoreError> {
        let settings = self.settings();
        quota_use(self.conn(), &settings.quota, project).await
    }
}

//! Quotas: what a project has is counted from its live rows, in the transaction that adds one.

use common::domain::ProjectId;
use sqlx::AnyConnection;

use super::row::Columns;
use super::{Store, StoreError, Tx, failed};
use crate::rules::{QuotaLimit, QuotaUse, Usage};

pub(super) const BACKUPS: &str = "SELECT COUNT(*) AS n, CAST(COALESCE(SUM(size_gib), 0) AS BIGINT) AS gigabytes \
     FROM backups WHERE project_id = $1 AND deleted_at IS NULL";
pub(super) const VOLUMES: &str = "SELECT COUNT(*) AS n, CAST(COALESCE(SUM(size_gib), 0) AS BIGINT) AS gigabytes \
     FROM volumes WHERE project_id = $1 AND deleted_at IS NULL";
const SNAPSHOTS: &str = "SELECT COUNT(*) AS n, CAST(COALESCE(SUM(size_gib), 0) AS BIGINT) AS gigabytes \
     FROM snapshots WHERE project_id = $1 AND deleted_at IS NULL";

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

/// The limits of a project that has nothing yet.
async fn limits(
    conn: &mut AnyConnection,
    defaults: &common::config::Quota,
    project: &ProjectId,
) -> Result<QuotaUse, StoreError> {
    let mut quota = QuotaUse {
        backups: Usage::default(),
        backups_limit: QuotaLimit {
            count: defaults.backups,
            gigabytes: defaults.backup_gigabytes,
        },
        volumes: Usage::default(),
        volumes_limit: QuotaLimit {
            count: defaults.volumes,
            gigabytes: defaults.gigabytes,
        },
        snapshots: 0,
        snapshots_limit: defaults.snapshots,
    };
    let own = sqlx::query("SELECT resource, hard_limit FROM quotas WHERE project_id = $1")
        .bind(project.to_string())
        .fetch_all(conn)
        .await
        .map_err(failed("load a project's limits"))?;
    for row in &own {
        let row = Columns(row);
        let limit = row.int("hard_limit")?;
        match row.text("resource")?.as_str() {
            "backups" => quota.backups_limit.count = limit,
            "backup_gigabytes" => quota.backups_limit.gigabytes = limit,
            "volumes" => quota.volumes_limit.count = limit,
            "snapshots" => quota.snapshots_limit = limit,
            "gigabytes" => quota.volumes_limit.gigabytes = limit,
            _ => {}
        }
    }
    Ok(quota)
}

async fn count_backups(
    conn: &mut AnyConnection,
    quota: &mut QuotaUse,
    project: &ProjectId,
) -> Result<(), StoreError> {
    quota.backups = usage(conn, BACKUPS, project).await?;
    Ok(())
}

async fn count_volumes(
    conn: &mut AnyConnection,
    quota: &mut QuotaUse,
    project: &ProjectId,
) -> Result<(), StoreError> {
    quota.volumes = usage(conn, VOLUMES, project).await?;
    let snapshots = usage(conn, SNAPSHOTS, project).await?;
    quota.volumes.gigabytes += snapshots.gigabytes;
    quota.snapshots = snapshots.count;
    Ok(())
}

impl Store {
    /// What a project has, and may have.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn quota_usage(&self, project: &ProjectId) -> Result<QuotaUse, StoreError> {
        let mut conn = self.read().await?;
        let mut quota = limits(&mut conn, &self.settings().quota, project).await?;
        count_backups(&mut conn, &mut quota, project).await?;
        count_volumes(&mut conn, &mut quota, project).await?;
        Ok(quota)
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
    /// What backups a project has, and may have; stays true until this change is committed. Others keep waiting for the
    /// time of the count, so nothing else is counted, and nothing at all where there is no limit.
    pub(super) async fn quota_of_backups(
        &mut self,
        project: &ProjectId,
    ) -> Result<QuotaUse, StoreError> {
        let settings = self.settings();
        let mut quota = limits(self.conn(), &settings.quota, project).await?;
        if quota.backups_limit.is_one() {
            count_backups(self.conn(), &mut quota, project).await?;
        }
        Ok(quota)
    }

    /// The same of volumes and snapshots.
    pub(super) async fn quota_of_volumes(
        &mut self,
        project: &ProjectId,
    ) -> Result<QuotaUse, StoreError> {
        let settings = self.settings();
        let mut quota = limits(self.conn(), &settings.quota, project).await?;
        if quota.volumes_limit.is_one() || quota.snapshots_limit >= 0 {
            count_volumes(self.conn(), &mut quota, project).await?;
        }
        Ok(quota)
    }
}

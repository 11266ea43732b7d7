//! The database router: puts Django's questions to the policy, with Django's fallbacks.

use std::sync::Arc;

use switchover_contract::{ErrorCode, Hints, Model, Object};
use switchover_core::DatabaseName;
use switchover_runtime::Error;
use switchover_runtime::call::{AllowMigrate, AllowRelation, DbForRead, DbForWrite, Question};

use crate::host::{Host, Switchover};

/// The database that Django falls back to.
const DEFAULT: &str = "default";

/// The router of a host. It asks the policy first. If the policy has no opinion, it takes the database of the instance,
/// and then `default`, as Django's `django.db.utils.ConnectionRouter` does. Cheap to clone.
///
/// # Errors
///
/// If the policy fails, the call fails: a failure is never "no opinion". If the answer is a database that the host does
/// not have, the call fails with [`Error::Refused`].
#[derive(Clone)]
pub struct Router {
    host: Arc<Host>,
}

impl Switchover {
    /// The database router.
    pub fn router(&self) -> Router {
        Router { host: Arc::clone(&self.host) }
    }
}

impl Router {
    /// The database to read a model from.
    pub async fn db_for_read(&self, app_label: &str, model_name: &str) -> Result<DatabaseName, Error> {
        self.db_for_read_with(app_label, model_name, Hints::default()).await
    }

    /// The database to read a model from, with hints.
    pub async fn db_for_read_with(
        &self,
        app_label: &str,
        model_name: &str,
        hints: Hints,
    ) -> Result<DatabaseName, Error> {
        let of_instance = hints.instance_database.clone();
        self.database(DbForRead { model: model(app_label, model_name), hints }, of_instance).await
    }

    /// The database to write a model to.
    pub async fn db_for_write(&self, app_label: &str, model_name: &str) -> Result<DatabaseName, Error> {
        self.db_for_write_with(app_label, model_name, Hints::default()).await
    }

    /// The database to write a model to, with hints.
    pub async fn db_for_write_with(
        &self,
        app_label: &str,
        model_name: &str,
        hints: Hints,
    ) -> Result<DatabaseName, Error> {
        let of_instance = hints.instance_database.clone();
        self.database(DbForWrite { model: model(app_label, model_name), hints }, of_instance).await
    }

    /// Whether two instances may be related. If the policy has no opinion: whether they are in the same database.
    pub async fn allow_relation(&self, a: Object, b: Object, hints: Hints) -> Result<bool, Error> {
        let same_database = a.database == b.database;
        Ok(self.host.ask(AllowRelation { a, b, hints }).await?.unwrap_or(same_database))
    }

    /// Whether tables of an application, or of one model of it, belong into a database. If the policy has no opinion:
    /// yes.
    pub async fn allow_migrate(
        &self,
        database: &DatabaseName,
        app_label: &str,
        model_name: Option<&str>,
    ) -> Result<bool, Error> {
        let question = AllowMigrate {
            database: database.as_str().to_owned(),
            app_label: app_label.to_owned(),
            model_name: model_name.map(str::to_owned),
            hints: Hints::default(),
        };
        Ok(self.host.ask(question).await?.unwrap_or(true))
    }

    /// What the policy itself says of [`Router::db_for_read_with`]. `None`: it has no opinion, and the next router of a
    /// chain is asked.
    pub async fn opinion_of_read(&self, model: Model, hints: Hints) -> Result<Option<String>, Error> {
        self.named(DbForRead { model, hints }).await
    }

    /// As [`Router::opinion_of_read`], of [`Router::db_for_write_with`].
    pub async fn opinion_of_write(&self, model: Model, hints: Hints) -> Result<Option<String>, Error> {
        self.named(DbForWrite { model, hints }).await
    }

    /// As [`Router::opinion_of_read`], of [`Router::allow_relation`].
    pub async fn opinion_of_relation(&self, a: Object, b: Object, hints: Hints) -> Result<Option<bool>, Error> {
        self.host.ask(AllowRelation { a, b, hints }).await
    }

    /// As [`Router::opinion_of_read`], of [`Router::allow_migrate`]. The database need not be one of the host.
    pub async fn opinion_of_migrate(
        &self,
        database: String,
        app_label: String,
        model_name: Option<String>,
        hints: Hints,
    ) -> Result<Option<bool>, Error> {
        self.host.ask(AllowMigrate { database, app_label, model_name, hints }).await
    }

    /// The database that the policy names. Django treats an empty name as no opinion.
    async fn named(&self, question: impl Question<Answer = Option<String>>) -> Result<Option<String>, Error> {
        Ok(self.host.ask(question).await?.filter(|name| !name.is_empty()))
    }

    /// The database that the policy names, or else that of the instance, or else `default`.
    async fn database(
        &self,
        question: impl Question<Answer = Option<String>>,
        of_instance: Option<String>,
    ) -> Result<DatabaseName, Error> {
        let named = self.named(question).await?.or(of_instance);
        let name = named.as_deref().unwrap_or(DEFAULT);
        let known = self.host.store.databases().find(|(known, _)| known.as_str() == name);
        known.map(|(name, _)| name.clone()).ok_or_else(|| Error::Refused {
            code: ErrorCode::Denied,
            message: format!(
                "the router names database `{}`, which this host does not have; configure it",
                DatabaseName::shown(name)
            ),
        })
    }
}

fn model(app_label: &str, model_name: &str) -> Model {
    Model { app_label: app_label.to_owned(), model_name: model_name.to_owned() }
}

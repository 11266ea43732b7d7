//! A policy that is compiled into the service.

use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use switchover_guest::Policy;

use super::runner::{Answer, Call, Failure, RouterCall, Runner};
use crate::imports::{CallContext, NativeHost};

pub(super) struct NativeRunner<P>(PhantomData<fn() -> P>);

impl<P> NativeRunner<P> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

#[async_trait]
impl<P: Policy> Runner for NativeRunner<P> {
    async fn call(&self, call: Call, context: Arc<CallContext>) -> Result<Answer, Failure> {
        let host = NativeHost::new(context);
        let answer = match call {
            Call::Load(key) => {
                P::load(&host, key.expose()).await.map(|found| Answer::Session(found.map(|found| found.session)))
            }
            Call::Save(session, mode) => {
                let key = session.key.clone();
                P::save(&host, key.expose(), host.session(session), mode).await.map(Answer::Outcome)
            }
            Call::Touch(key, expires_at) => {
                P::touch(&host, key.expose(), expires_at.as_micros()).await.map(Answer::Outcome)
            }
            Call::Delete(key) => P::delete(&host, key.expose()).await.map(Answer::Deleted),
            Call::Exists(key) => P::exists(&host, key.expose()).await.map(Answer::Exists),
            Call::ClearExpired(limit) => P::clear_expired(&host, limit).await.map(Answer::Count),
            Call::Route(call) => route::<P>(&host, *call),
            Call::Describe => Ok(Answer::Description(Box::new(P::describe(&host)))),
        };
        answer.map_err(Failure::Answered)
    }

    async fn warm(&self, _instances: usize) -> Result<(), Failure> {
        Ok(())
    }
}

fn route<P: Policy>(host: &NativeHost, call: RouterCall) -> switchover_contract::Result<Answer> {
    match call {
        RouterCall::DbForRead(model, hints) => P::db_for_read(host, &model, &hints).map(Answer::Database),
        RouterCall::DbForWrite(model, hints) => P::db_for_write(host, &model, &hints).map(Answer::Database),
        RouterCall::AllowRelation(a, b, hints) => P::allow_relation(host, &a, &b, &hints).map(Answer::Opinion),
        RouterCall::AllowMigrate { database, app_label, model_name, hints } => {
            P::allow_migrate(host, &database, &app_label, model_name.as_deref(), &hints).map(Answer::Opinion)
        }
    }
}

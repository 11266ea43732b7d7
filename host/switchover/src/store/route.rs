//! The databases of a write: home, and the mirrors that are written with it.

use switchover_contract::{Guarantee, MirrorAction, Target};
use switchover_core::capabilities::Write;
use switchover_core::{DatabaseName, Session, SessionKey};

/// Home, and mirrors with their actions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Route {
    pub(super) home: DatabaseName,
    pub(super) mirrors: Vec<(DatabaseName, MirrorAction)>,
}

impl Route {
    pub(super) fn target(&self) -> Target {
        let home = Target::home(self.home.as_str());
        self.mirrors.iter().fold(home, |target, (mirror, action)| match action {
            MirrorAction::Copy => target.copy_to(mirror.as_str(), Guarantee::Strict),
            MirrorAction::Remove => target.remove_from(mirror.as_str(), Guarantee::Strict),
        })
    }
}

/// The write that carries out a mirror's action when home has `row`.
pub(super) fn mirror_write(action: MirrorAction, row: Option<&Session>, key: &SessionKey) -> Write {
    match (action, row) {
        (MirrorAction::Copy, Some(row)) => Write::Upsert(row.clone()),
        (MirrorAction::Copy, None) | (MirrorAction::Remove, _) => Write::Delete(key.clone()),
    }
}

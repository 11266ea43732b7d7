//! The hosts of a site, and which of them serve.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use crate::history::HostId;
use crate::host::Host;

/// The hosts that calls go to, as a load balancer has them: a host may be taken out, and others may come.
pub struct Hosts(RwLock<Vec<(Host, bool)>>);

impl<H: Into<Host>> FromIterator<H> for Hosts {
    fn from_iter<I: IntoIterator<Item = H>>(hosts: I) -> Self {
        Self(RwLock::new(hosts.into_iter().map(|host| (host.into(), true)).collect()))
    }
}

impl Hosts {
    /// Adds a host, which serves from now on.
    ///
    /// # Panics
    ///
    /// With more than 256 hosts.
    pub fn add(&self, host: impl Into<Host>) -> HostId {
        let mut hosts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        hosts.push((host.into(), true));
        HostId(u8::try_from(hosts.len() - 1).expect("a fleet has at most 256 hosts"))
    }

    /// Sets whether a host gets calls. Calls that are under way go on.
    pub fn serve(&self, host: HostId, serves: bool) {
        let mut hosts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        hosts[usize::from(host.0)].1 = serves;
    }

    /// One of the hosts that serve; `choose` returns a number below the one that it is given.
    pub(crate) fn any(&self, choose: impl FnOnce(usize) -> usize) -> (HostId, Host) {
        let hosts = self.read();
        let serving = hosts.iter().filter(|(_, serves)| *serves).count();
        let chosen = if serving > 1 { choose(serving) } else { 0 };
        let numbered = (0..=u8::MAX).map(HostId).zip(hosts.iter());
        let found = numbered.filter(|(_, (_, serves))| *serves).nth(chosen);
        let (id, (host, _)) = found.expect("a site has a host that serves");
        (id, host.clone())
    }

    fn read(&self) -> RwLockReadGuard<'_, Vec<(Host, bool)>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

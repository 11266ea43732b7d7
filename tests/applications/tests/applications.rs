//! Applications that know nothing of Switchover, while `switchover move` builds the table of their sessions again.
//!
//! A [`applications::site::Site`] is a shop on a session library that somebody else wrote, as its two processes, with a
//! PostgreSQL server of its own. The shops have the same pages, and the visitors are those of Django's shop: they check
//! that what was acknowledged is read back, and that nobody is logged out, or back after a logout. The libraries come
//! from npm and PyPI, into folders that the first test makes.

mod applications {
    /// Runs each claim once for each application.
    macro_rules! claims {
        ($($claim:ident,)*) => {
            mod express { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() -> anyhow::Result<()> {
                    super::$claim(crate::applications::application::Application::Express).await
                }
            )* }
            mod flask { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() -> anyhow::Result<()> {
                    super::$claim(crate::applications::application::Application::Flask).await
                }
            )* }
        };
    }

    mod application;
    mod bridged;
    mod environment;
    mod process;
    mod program;
    mod rebuilt;
    mod sabotaged;
    mod site;
    mod table;
}

//! The address of a server, looked at before the driver gets it: drivers take any scheme, and pass over a misspelt parameter.

use crate::capabilities::DatabaseError;

/// A shape for the error, which must not repeat the address: it may hold a password.
pub(in crate::backends) struct Shape {
    pub(in crate::backends) schemes: &'static [&'static str],
    pub(in crate::backends) example: &'static str,
    pub(in crate::backends) parameters: &'static [&'static str],
}

impl Shape {
    /// Checks scheme and parameters.
    pub(in crate::backends) fn check(&self, url: &str) -> Result<(), DatabaseError> {
        let Some((scheme, rest)) = url.split_once("://") else { return Err(self.invalid()) };
        if !self.schemes.contains(&scheme) {
            return Err(self.invalid());
        }
        let parameters = rest.split_once('?').map_or("", |(_, parameters)| parameters);
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
            if !self.parameters.contains(&name) {
                let message =
                    format!("the address has the parameter `{name:.40}`; there are {}", self.parameters.join(", "));
                return Err(DatabaseError::Unavailable { message });
            }
        }
        Ok(())
    }

    pub(in crate::backends) fn invalid(&self) -> DatabaseError {
        DatabaseError::Unavailable { message: format!("the address is not a URL like {}", self.example) }
    }
}

//! Checks the address of a server before the driver gets it. Drivers accept any scheme and ignore a misspelt parameter.
//! If a password is not escaped, they connect to the part of the host that it leaves.

/// How to write a character that ends a part of an address.
pub(super) const ESCAPES: &str = "escape `?` `#` `/` `@` in the password and elsewhere: \
                                  write `?` as %3F, `#` as %23, `/` as %2F, `@` as %40, `%` as %25";

/// The form that an address must have. No error repeats any part of an address: what stands in the wrong place may be
/// part of a password.
pub(super) struct Shape {
    pub(super) schemes: &'static [&'static str],
    pub(super) example: &'static str,
    pub(super) parameters: &'static [&'static str],
    /// Parameters that take only certain values, in upper or lower case.
    pub(super) choices: &'static [(&'static str, &'static [&'static str])],
}

impl Shape {
    /// Checks everything that a driver would ignore or misread. The error is for people.
    pub(super) fn check(&self, url: &str) -> Result<(), String> {
        let of_a_kind = url.split_once("://").filter(|(scheme, _)| self.schemes.contains(scheme));
        let Some((_, rest)) = of_a_kind else { return Err(format!("the address is not a URL like {}", self.example)) };
        check_characters(rest)?;
        let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
        let behind = &rest[authority.len()..];
        // An `@` after the host: what looks like the host, its port or the database is the beginning of a password.
        if authority.matches('@').count() > 1 || behind.contains('@') {
            return Err(format!("the address has an `@` or another sign too many: {ESCAPES}"));
        }
        let parameters = behind.split_once('?').map_or("", |(_, parameters)| parameters);
        parameters
            .split('&')
            .filter(|parameter| !parameter.is_empty())
            .try_for_each(|given| self.check_parameter(given))
    }

    fn check_parameter(&self, given: &str) -> Result<(), String> {
        let (name, value) = given.split_once('=').unwrap_or((given, ""));
        if !self.parameters.contains(&name) {
            let known = self.parameters.join(", ");
            return Err(format!("the address has a parameter that is none of {known}; if it is none, {ESCAPES}"));
        }
        match self.choices.iter().find(|(choice, _)| *choice == name) {
            Some((_, values)) if !values.iter().any(|known| known.eq_ignore_ascii_case(value)) => {
                Err(format!("the address has another `{name}` than {}", values.join(", ")))
            }
            _ => Ok(()),
        }
    }

    /// The message for an address that a driver cannot read.
    #[cfg(any(feature = "postgres", feature = "mysql"))]
    pub(super) fn invalid(&self) -> String {
        format!("the address is not a URL like {}; {ESCAPES}", self.example)
    }
}

/// Checks for characters that no part of an address may contain unescaped.
fn check_characters(rest: &str) -> Result<(), String> {
    // URL parsers drop tabs and line ends, and trim spaces at the end.
    if rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(
            "the address has a space, a tab or the end of a line in it: take it out, or write a space as %20".into()
        );
    }
    if rest.contains('#') {
        return Err(format!("the address has a `#`, and what follows it would be left out: {ESCAPES}"));
    }
    let whole = |escape: &str| escape.len() > 1 && escape.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if rest.match_indices('%').any(|(at, _)| !whole(&rest[at + 1..]) || rest[at + 1..].starts_with("00")) {
        return Err(format!("the address has a `%` without the two digits of a character behind it: {ESCAPES}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        schemes: &["postgres"],
        example: "postgres://USER:PASSWORD@HOST/DATABASE",
        parameters: &["sslmode", "password"],
        choices: &[("sslmode", &["disable", "require"])],
    };

    #[test]
    fn whole_addresses_are_taken() {
        for address in [
            "postgres://db-1/app",
            "postgres://app@db-1",
            "postgres://app:se:cret=&+$!~é@db-1:5432/app?sslmode=REQUIRE",
            "postgres://app:%3F%23%2F%40%25@[::1]:5432/app?password=%23",
            "postgres://app@%2Frun%2Fpostgresql/app",
            "postgres:///app",
        ] {
            assert_eq!(SHAPE.check(address), Ok(()), "{address}");
        }
    }

    #[test]
    fn what_an_unescaped_password_leaves_is_refused_with_the_escapes() {
        for address in [
            "postgres://app:12?34@db-1/app",
            "postgres://app:12#34@db-1/app",
            "postgres://app:12/34@db-1/app",
            "postgres://app:12@34@db-1/app",
            "postgres://app:12%34%@db-1/app",
            "postgres://app:12%zz@db-1/app",
            "postgres://app:12%é@db-1/app",
            "postgres://app:12%00@db-1/app",
            "postgres://app:1?sslmode=34@db-1/app",
            "postgres://app@db-1/app?password=12&34",
            "postgres://app@db-1/app?password=12#34",
        ] {
            let told = SHAPE.check(address).unwrap_err();
            assert!(told.contains("%3F") && told.contains("%23") && told.contains("%2F"), "{address}: {told}");
            assert!(!told.contains("34"), "{address}: {told}");
        }
    }

    #[test]
    fn address_of_another_kind_is_told_what_is_wanted() {
        for address in
            ["postgres:/app:1234@db-1/app", "mongo://app:1234@db-1/app", "app:1234@db-1/app", "//app:1234@db-1"]
        {
            let told = SHAPE.check(address).unwrap_err();
            assert!(told.contains("postgres://USER") && !told.contains("34"), "{address}: {told}");
        }
    }

    #[test]
    fn value_of_few_is_named_without_the_one_that_was_given() {
        let told = SHAPE.check("postgres://db-1/app?sslmode=requrie").unwrap_err();
        assert!(told.contains("`sslmode` than disable, require") && !told.contains("requrie"), "{told}");
        let told = SHAPE.check("postgres://app:12 34@db-1/app").unwrap_err();
        assert!(told.contains("%20") && !told.contains("34"), "{told}");
    }
}

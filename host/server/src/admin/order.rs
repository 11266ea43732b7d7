//! What a command asks for: a JSON object, or nothing.

use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::refusal::UNFIT;
use crate::asked::json_body;
use crate::problem::Problem;

/// The body of a command. Unknown members are refused. No body, and `null`, are an empty object.
pub(super) struct Order<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Order<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let body = json_body(request).await?;
        let body = if [&b""[..], b"null"].contains(&body.trim_ascii()) { b"{}".to_vec() } else { body };
        let value: Value = serde_json::from_slice(&body).map_err(|error| wrong(&error))?;
        // serde takes a list of values for an object.
        if !value.is_object() {
            return Err(refused("it is no object".to_owned()));
        }
        serde_json::from_value(value).map(Self).map_err(|error| wrong(&error))
    }
}

/// Operators send no credentials in a command, so the words of serde may be shown: they name the member.
fn wrong(error: &serde_json::Error) -> Problem {
    refused(error.to_string())
}

fn refused(why: String) -> Problem {
    UNFIT.problem(format!("the body is not what this command takes: {why}"))
}

//! The methods of an RPC server that a program implements.

use std::{ffi::OsString, sync::Arc};

use messaging::{
    Context,
    rpc::{Arguments, Failure, Methods, Output},
};
use serde_json::value::RawValue;

use super::answer::answer;

/// Methods that a program implements: it gets the name as its last argument and in AMQP_METHOD, the
/// arguments as JSON on standard input, and prints the result as JSON.
#[derive(Clone, Debug)]
pub(crate) struct ProgramMethods(pub(crate) Arc<Vec<OsString>>);

impl Methods for ProgramMethods {
    async fn call(&self, method: &str, _: Context, arguments: Arguments) -> Result<Output, Failure> {
        let failed = |why: String| Failure::new("CommandFailed", why);
        // It would be an option of the program.
        if method.starts_with('-') {
            return Err(Failure::no_such_method(method));
        }
        let mut command = self.0.to_vec();
        command.push(method.into());
        let variables = [("AMQP_METHOD", method)];
        let answer = answer(&command, &variables, arguments.as_json().as_bytes()).await;
        let (status, result) = answer.map_err(|error| failed(error.to_string()))?;
        if !status.success() {
            return Err(failed(format!("the program of method {method} ended with {status}")));
        }
        let result = String::from_utf8(result).map_err(|_| failed("the result is not UTF-8".to_owned()))?;
        let result = if result.trim().is_empty() { "null".to_owned() } else { result };
        let result = RawValue::from_string(result);
        Output::new(&result.map_err(|error| failed(format!("the result is not JSON: {error}")))?)
    }
}

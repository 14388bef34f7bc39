//! A route as one value: method, path, who may call it, handler and description. The router and the OpenAPI document are
//! both made of the same list of these, so neither can know a route that the other does not.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use proofmill_contract::ApiError;

use crate::openapi::Operation;
use crate::state::Ctx;

/// Who may call a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Whoever has an API key with this scope.
    Key(&'static str),
    /// Whoever has the write token of the attempt in the path.
    WriteToken,
    /// Anybody; an id in the path is the capability.
    Public,
}

/// One method of one path.
pub struct Route {
    /// In upper case.
    pub method: &'static str,
    /// With `{id}` where an id goes.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// What it does.
    pub operation: Operation,
    handler: MethodRouter<Ctx>,
}

impl Route {
    /// Mounts the route.
    pub fn mount(self, router: Router<Ctx>) -> Router<Ctx> {
        let handler = match self.operation.query_names() {
            Some(names) => self.handler.route_layer(from_fn_with_state(Arc::<[_]>::from(names), refuse_unknown)),
            None => self.handler,
        };
        router.route(self.path, handler)
    }
}

macro_rules! methods {
    ($($name:ident = $text:literal, $filter:ident;)*) => {
        $(
            #[doc = concat!("A ", $text, " route.")]
            pub fn $name<H, T>(path: &'static str, access: Access, handler: H, operation: Operation) -> Route
            where
                H: Handler<T, Ctx>,
                T: 'static,
            {
                Route { method: $text, path, access, operation, handler: on(MethodFilter::$filter, handler) }
            }
        )*
    };
}

methods! {
    get = "GET", GET;
    post = "POST", POST;
    put = "PUT", PUT;
    patch = "PATCH", PATCH;
    delete = "DELETE", DELETE;
}

/// Refuses query parameters that the route's description does not name. A misspelt filter that is passed over would list
/// everything.
async fn refuse_unknown(State(known): State<Arc<[&'static str]>>, request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let unknown = url::form_urlencoded::parse(query.as_bytes())
        .map(|(name, _)| name)
        .find(|name| !known.contains(&name.as_ref()))
        .map(|name| name.chars().take(64).collect::<String>());
    match unknown {
        None => next.run(request).await,
        Some(name) => {
            let error = ApiError::invalid_field(&name, "this route takes no such parameter");
            super::error::Error::from(error).into_response()
        }
    }
}

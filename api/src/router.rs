//! Every route of the public listener on one screen.
//!
//! `routes!` puts a handler with its `#[utoipa::path]` into the router and into the document at once, so that neither has what
//! the other lacks: `.route()` is not used. A door adds one group: its handlers, its layers, and the `describe` of its
//! `openapi::Door`, which writes what its calls share, credentials and refusals in its shape, into the document.

use axum::Router;
use axum::http::Uri;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use crate::core::Api;
use crate::doors::{Body, Name, demo, front, keyless, kratos, login, mobile, oneport, openlyne, supabase, twilio, v1};
use crate::error::{ApiError, Shape, plain, reshape};
use crate::openapi::demo::Refusal;
use crate::openapi::login::Message;
use crate::openapi::mobile::Refused;
use crate::openapi::openlyne::Refused as Unsent;
use crate::openapi::supabase::Answer;
use crate::openapi::twilio::TwilioError;
use crate::openapi::v1::V1Error;
use crate::openapi::{self, page};
use crate::sessions::routes as session;
use crate::{health, middleware, receipts, records};

/// What `routes!` makes.
type Call = UtoipaMethodRouter<Api>;

/// The public routes, without health: that is [`health`] or the admin's, which says more.
pub fn router(api: Api) -> Router {
    let routes = groups().into_iter().fold(OpenApiRouter::default(), OpenApiRouter::merge);
    Router::from(routes)
        .fallback(no_such_route)
        .layer(from_fn_with_state(api.clone(), middleware::observe))
        .with_state(api)
}

fn groups() -> Vec<OpenApiRouter<Api>> {
    let v1 = OpenApiRouter::default()
        .routes(routes!(v1::send))
        .routes(routes!(v1::verify))
        .routes(routes!(v1::cancel))
        .routes(routes!(session::refresh))
        .routes(routes!(session::end));
    let back = OpenApiRouter::default()
        .routes(routes!(records::list))
        .routes(routes!(records::timeline))
        .routes(routes!(records::stats))
        .routes(routes!(records::token_info))
        .routes(routes!(records::sandbox_messages));
    let keys = OpenApiRouter::default().routes(routes!(session::jwks));
    let me = OpenApiRouter::default().routes(routes!(session::me));
    let logout = OpenApiRouter::default().routes(routes!(session::logout));
    let login = signing_in(Name::Login, routes!(login::send), routes!(login::verify));
    let oneport = signing_in(Name::OnePort, routes!(oneport::send), routes!(oneport::verify));
    let mobile = OpenApiRouter::default()
        .routes(routes!(mobile::send))
        .routes(routes!(mobile::verify))
        .routes(routes!(mobile::refresh));
    let openlyne = OpenApiRouter::default()
        .routes(routes!(openlyne::send))
        .routes(routes!(openlyne::verify))
        .routes(routes!(openlyne::webhook_send))
        .routes(routes!(openlyne::webhook_verify));
    let hooks = OpenApiRouter::default().routes(routes!(supabase::send_sms)).routes(routes!(supabase::send_email));
    let courier = OpenApiRouter::default().routes(routes!(kratos::send));
    let receipts = OpenApiRouter::default()
        .routes(routes!(receipts::post, receipts::challenge))
        .routes(routes!(receipts::post_unsigned, receipts::get_unsigned));
    let reference = OpenApiRouter::default()
        .routes(routes!(page::document))
        .routes(routes!(page::page))
        .routes(routes!(page::asset));
    vec![
        openapi::v1::DOOR.describe::<V1Error>(front(plain, Body::Json, v1).merge(front(plain, Body::Raw, back))),
        openapi::session::KEYS.describe::<V1Error>(front(plain, Body::Raw, keys)),
        openapi::session::ME.describe::<Message>(front(login::message, Body::Raw, keyless(Name::Me, Body::Raw, me))),
        openapi::session::LOGOUT.describe::<V1Error>(front(plain, Body::Raw, keyless(Name::Logout, Body::Raw, logout))),
        openapi::login::DOOR.describe::<Message>(login),
        openapi::oneport::DOOR.describe::<Message>(oneport),
        openapi::mobile::DOOR.describe::<Refused>(front(
            mobile::shape,
            Body::Raw,
            keyless(Name::Mobile, Body::Json, mobile),
        )),
        openapi::openlyne::DOOR.describe::<Unsent>(front(openlyne::envelope, Body::Json, openlyne)),
        openapi::supabase::DOOR.describe::<Answer>(front(supabase::refusal, Body::Raw, hooks)),
        openapi::kratos::DOOR.describe::<V1Error>(front(plain, Body::Json, courier)),
        openapi::twilio::DOOR.describe::<TwilioError>(twilio_verify()),
        openapi::demo::DOOR.describe_pages::<Refusal>(demo_page()),
        openapi::RECEIPTS.describe::<V1Error>(front(plain, Body::Raw, receipts)),
        openapi::REFERENCE.describe::<V1Error>(front(plain, Body::Raw, reference)),
    ]
}

/// A door of two calls, whose failures are told in words of their own.
fn signing_in(name: Name, send: Call, verify: Call) -> OpenApiRouter<Api> {
    let one = |call| keyless(name, Body::Json, OpenApiRouter::default().routes(call));
    front(login::sending, Body::Raw, one(send)).merge(front(login::verifying, Body::Raw, one(verify)))
}

fn twilio_verify() -> OpenApiRouter<Api> {
    let routes = OpenApiRouter::default()
        .routes(routes!(twilio::create))
        .routes(routes!(twilio::fetch, twilio::update))
        .routes(routes!(twilio::check));
    front(twilio::shape, Body::Form, routes)
}

/// The page to log in with: its forms, and what is no form.
fn demo_page() -> OpenApiRouter<Api> {
    let forms = OpenApiRouter::default().routes(routes!(demo::send)).routes(routes!(demo::verify));
    let rest =
        OpenApiRouter::default().routes(routes!(demo::page)).routes(routes!(demo::file)).routes(routes!(demo::logout));
    let open = |body, routes| keyless(Name::Demo, body, demo::own_page_only(routes));
    demo::front(open(Body::Form, forms).merge(open(Body::Raw, rest)))
}

/// What no door has, in the shape of the door that it seems meant for.
async fn no_such_route(uri: Uri) -> Response {
    let shape: Shape = if uri.path().starts_with("/v2/") { twilio::shape } else { plain };
    reshape(shape, ApiError::not_found("No such route").into_response())
}

/// Whether it lives and can accept, for load balancers: no more than that is told in public.
pub fn health(api: Api) -> Router {
    Router::from(health_routes()).with_state(api)
}

fn health_routes() -> OpenApiRouter<Api> {
    openapi::HEALTH.name(OpenApiRouter::default().routes(routes!(health::alive)).routes(routes!(health::ready)))
}

/// The OpenAPI document of all of them.
pub fn document() -> String {
    let all = groups().into_iter().chain([health_routes()]);
    let whole = all.fold(OpenApiRouter::with_openapi(openapi::head()), OpenApiRouter::merge);
    openapi::finish(whole.into_openapi())
}

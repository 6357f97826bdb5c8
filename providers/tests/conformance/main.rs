//! The adapters held to their vendors' published specifications: the folder that `OTPD_SPECS` names has them, it is no
//! part of this project. Each adapter really sends, to a stub; Africa's Talking, Play Mobile, Telnyx and Postmark are
//! not here, since nothing that may be kept is published of them.

mod bodies;
mod eskiz;
mod infobip;
mod mailgun;
mod meta;
mod operation;
mod resend;
mod rig;
mod samples;
mod sendgrid;
mod ses;
mod signatures;
mod specs;
mod twilio;
mod vonage;

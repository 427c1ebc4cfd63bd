//! Clients in other languages with our broker, and with our client through it.

mod celery;
mod celery_tasks;
mod celery_worker;
mod constructors;
mod kombu;
mod mailbox;
mod oslo;
mod pika;
mod suites;
mod virtual_transports;

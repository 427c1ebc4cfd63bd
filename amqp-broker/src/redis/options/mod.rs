//! A Redis transport's URL and options, as kombu reads them.

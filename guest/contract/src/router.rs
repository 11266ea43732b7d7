//! The questions of a database router: `wit/router.wit`.

/// A model, as `app_label.model_name` in Django.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Model {
    /// The application's label (`sessions`).
    pub app_label: String,
    /// The model in lower case (`session`).
    pub model_name: String,
}

/// What the caller of a router knows beyond the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hints {
    /// The database that the instance at hand came from.
    pub instance_database: Option<String>,
    /// A key to route by, of the caller's choice.
    pub key: Option<String>,
    /// Anything else, as names and values.
    pub context: Vec<(String, String)>,
}

/// An instance of a model, for the question of relations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// Its model.
    pub model: Model,
    /// The database it came from; `None`: it is new.
    pub database: Option<String>,
}

//! What an image says of itself, and whether that is what a policy asks for.

//! Is the gate of this node shut? What stands between a pull and the verifiers is containerd's
//! configuration, a directory and some files, and most mistakes in them let every pull through.

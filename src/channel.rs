//! What init and the supervisor say to each other over one SOCK_SEQPACKET pair.

"""OpenStack itself: the session, what there is, what is made; nothing here decides what should be."""

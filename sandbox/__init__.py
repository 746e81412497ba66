"""OVH and the internet on this machine, made of real parts, to rehearse and test the whole main job."""

"""A pipeline as a service: texts come one by one, from many clients, and each is answered as soon as it is done."""

"""What holds for all tests: hypothesis measures no time, which a busy machine would fail."""

from hypothesis import settings

settings.register_profile("roadstead", deadline=None)
settings.load_profile("roadstead")

from importlib import metadata

from deeprob import environment


def test_a_twin_of_a_package_serves_as_well(monkeypatch):
    def installed(name):
        if name == "opencv-python-headless":
            return "4.12"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", installed)
    assert environment.version("opencv-python") == "4.12"
    assert environment.version("torch") is None

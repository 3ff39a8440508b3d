"""Certificate authorities and the certificates they sign, made by openssl for one run."""

import subprocess
from pathlib import Path

import project


class Authority:
    """A certificate authority. Its folder lies in memory."""

    def __init__(self, folder: Path, name: str):
        self.folder, self.name = folder / name, name
        self.folder.mkdir(parents=True)
        self.certificate = self.folder / "ca.crt"
        self.key = self.folder / "ca.key"
        openssl("req", "-x509", *new_key(self.key), "-out", self.certificate, "-days", "1", "-subj", f"/CN={name}")

    @property
    def text(self) -> str:
        return self.certificate.read_text()

    def sign(self, names: list[str]) -> tuple[str, str]:
        """Returns the certificate and the key of a server with these DNS names."""
        certificate, key = self.folder / f"{names[0]}.crt", self.folder / f"{names[0]}.key"
        extension = "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)
        openssl(
            "req", "-x509", *new_key(key), "-out", certificate, "-days", "1", "-subj", f"/CN={names[0]}",
            "-CA", self.certificate, "-CAkey", self.key, "-addext", extension, "-addext", "basicConstraints=critical,CA:false",
        )  # fmt: skip
        return certificate.read_text(), key.read_text()

    def sign_request(self, configuration: Path) -> tuple[str, str]:
        """Returns the certificate and the key that a request file of openssl asks for, with its names and usages."""
        certificate, key, request = (self.folder / f"{configuration.stem}.{end}" for end in ("crt", "key", "csr"))
        openssl("req", "-new", "-config", configuration, "-keyout", key, "-out", request)
        openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.key, "-copy_extensions", "copy",
            "-days", "1", "-out", certificate,
        )  # fmt: skip
        return certificate.read_text(), key.read_text()


def new_key(file: Path) -> list[str]:
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(file)]


def openssl(*arguments: str | Path) -> None:
    done = subprocess.run([project.tool("openssl"), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"openssl {arguments[0]}: {done.stderr}"

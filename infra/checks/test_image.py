"""The image: what the Dockerfile says, compared with the program that it holds."""

import json
import re
import shutil
import tomllib
from pathlib import Path

import house
import pytest
import yaml

# Alpine with the authorities' certificates, unpacked; rounded up.
BASE_BYTES = 10_000_000
# A role needs these to start at all; they are no part of the image.
SECRETS = {"TICKBELL_LINKS__SECRET": "x" * 16}


def final() -> list[tuple[str, str]]:
    return house.dockerfile()[-1]


def only(word: str) -> str:
    """The arguments of an instruction that the final stage has once."""
    found = [arguments for instruction, arguments in final() if instruction == word]
    assert len(found) == 1, f"{word}: {found}"
    return found[0]


def test_hadolint_has_nothing_to_say():
    house.output(house.tool("hadolint"), "infra/docker/Dockerfile")


def test_bases_are_pinned_and_the_last_is_alpine():
    stages = [stage[0][1].split(" AS ") for stage in house.dockerfile()]
    names = {stage[1] for stage in stages if len(stage) == 2}
    for base in {stage[0] for stage in stages} - names:
        assert re.fullmatch(r"[a-z]+:\d+\.\d+\.\d+(-alpine\d+\.\d+)?", base), f"{base} has no exact tag"
    assert stages[-1][0].startswith("alpine:")


def test_it_is_built_with_one_compiler_everywhere():
    version = re.search(r"^FROM rust:([\d.]+)", (house.ROOT / "infra/docker/Dockerfile").read_text(), re.MULTILINE)[1]
    gitlab = yaml.safe_load((house.ROOT / "infra/pipelines/check.yml").read_text())[".rust"]["image"]
    github = (house.ROOT / ".github/actions/rust/action.yml").read_text()
    assert gitlab.startswith(f"rust:{version}-")
    assert set(re.findall(r"rustup (?:toolchain install|default) (\S+)", github)) == {version}
    least = tomllib.loads((house.ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
    assert [int(part) for part in version.split(".")] >= [int(part) for part in least.split(".")]


def test_it_runs_as_nobody_special():
    assert only("USER") == "10001:10001"
    assert any(word == "RUN" and "adduser" in text and "-u 10001" in text for word, text in final())


def test_its_program_is_where_the_build_puts_it():
    path = json.loads(only("ENTRYPOINT"))[0]
    assert only("COPY") == f"--from=build /src/target/release/tickbell {path}"
    assert json.loads(only("HEALTHCHECK").partition("CMD ")[2]) == [path, "healthcheck"]


def test_its_health_check_is_a_command_of_the_program():
    house.output(house.tickbell(), "healthcheck", "--help")


def test_its_environment_is_made_of_settings():
    unknown = set(house.image_environment()) - house.setting_variables()
    assert not unknown, f"no settings: {unknown}"


@pytest.mark.parametrize("role", house.roles())
def test_its_environment_is_enough_for(role):
    assert house.check_settings([role], house.image_environment() | SECRETS) is None


def test_it_exposes_where_it_listens():
    assert {int(port) for port in only("EXPOSE").split()} == house.image_ports()
    listens = {key for key, value in house.setting_keys().items() if key.endswith(".listen")}
    said = {key.removeprefix("TICKBELL_").replace("__", ".").lower() for key in house.image_environment()}
    assert listens <= said, f"these listen on localhost in a container: {listens - said}"


def test_a_commit_does_not_spoil_the_cached_dependencies():
    _, _, build, last = house.dockerfile()
    words = [f"{word} {arguments}" for word, arguments in build]
    cook, copy, commit, make = (
        next(number for number, line in enumerate(words) if re.match(start, line))
        for start in ("RUN cargo chef cook", r"COPY \. \.", "ARG COMMIT", "RUN TICKBELL_COMMIT=")
    )
    assert cook < copy < commit < make
    assert [word for word, _ in last][-2:] == ["ARG", "LABEL"], "the commit's label is the last layer"


def test_dependencies_are_built_as_the_program_is():
    lines = " ".join(arguments for word, arguments in house.dockerfile()[2] if word == "RUN")
    cook = re.search(r"cargo chef cook (.+?) --recipe-path", lines)[1]
    build = re.search(r"cargo build (.+?) &&", lines)[1]
    assert cook == build


def test_the_program_knows_the_commit_that_it_is_built_from():
    source = (house.ROOT / "services/tickbell/src/version.rs").read_text()
    assert 'option_env!("TICKBELL_COMMIT")' in source


def admitted() -> list[Path]:
    """What .dockerignore lets into the build."""
    lines = (house.ROOT / ".dockerignore").read_text().split()
    return [house.ROOT / line[1:] for line in lines if line.startswith("!")]


def compiled_in() -> set[Path]:
    """Files that the code takes in when it is compiled, tests apart."""
    found = {house.ROOT / "Cargo.toml", house.ROOT / "Cargo.lock"}
    members = tomllib.loads((house.ROOT / "Cargo.toml").read_text())["workspace"]["members"]
    for member in members:
        found |= {path / "Cargo.toml" for path in house.ROOT.glob(member) if path.is_dir()}
    for source in [*house.ROOT.glob("services/*/src/**/*.rs"), *house.ROOT.glob("schemas/src/**/*.rs")]:
        code = source.read_text().split("#[cfg(test)]")[0]
        found |= {(source.parent / name).resolve() for name in re.findall(r'include_\w+!\(\s*"([^"]+)"', code)}
    return found


def test_the_build_is_given_every_file_that_it_reads():
    files = compiled_in()
    assert len(files) > 15
    missing = [file for file in files if not any(file.is_relative_to(path) for path in admitted())]
    assert not missing, f".dockerignore keeps these out: {missing}"
    assert all(path.exists() for path in admitted()), "a line of .dockerignore names nothing"


def test_it_is_below_its_size(tmp_path):
    limit = int(re.search(r"^limit=(\d+)$", (house.ROOT / "infra/pipelines/image").read_text(), re.MULTILINE)[1])
    assert limit <= 40_000_000
    stripped = tmp_path / "tickbell"
    shutil.copy(house.tickbell(), stripped)
    house.output(house.tool("strip"), stripped)
    assert stripped.stat().st_size + BASE_BYTES < limit

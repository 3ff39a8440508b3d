"""The image: the Dockerfile, compared with the program that it contains."""

import json
import re
import shutil
import tomllib
from pathlib import Path

import project
import pytest
import yaml

# The size of Alpine with CA certificates, unpacked and rounded up.
BASE_BYTES = 10_000_000
# Services do not start without these, and the image does not contain them.
SECRETS = {"TICKBELL_LINKS__SECRET": "x" * 16}


def final() -> list[tuple[str, str]]:
    return project.dockerfile()[-1]


def only(word: str) -> str:
    """Returns the arguments of an instruction that stands once in the last stage."""
    found = [arguments for instruction, arguments in final() if instruction == word]
    assert len(found) == 1, f"{word}: {found}"
    return found[0]


def test_hadolint_finds_nothing():
    project.output(project.tool("hadolint"), "infra/docker/Dockerfile")


def test_base_images_are_pinned_and_the_last_is_alpine():
    stages = [stage[0][1].split(" AS ") for stage in project.dockerfile()]
    names = {stage[1] for stage in stages if len(stage) == 2}
    for base in {stage[0] for stage in stages} - names:
        assert re.fullmatch(r"[a-z]+:\d+\.\d+\.\d+(-alpine\d+\.\d+)?", base), f"{base} has no exact tag"
    assert stages[-1][0].startswith("alpine:")


def test_image_and_pipelines_use_one_compiler():
    version = re.search(r"^FROM rust:([\d.]+)", (project.ROOT / "infra/docker/Dockerfile").read_text(), re.MULTILINE)[1]
    gitlab = yaml.safe_load((project.ROOT / "infra/pipelines/check.yml").read_text())[".rust"]["image"]
    github = (project.ROOT / ".github/actions/rust/action.yml").read_text()
    assert gitlab.startswith(f"rust:{version}-")
    assert set(re.findall(r"rustup (?:toolchain install|default) (\S+)", github)) == {version}
    least = tomllib.loads((project.ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
    assert [int(part) for part in version.split(".")] >= [int(part) for part in least.split(".")]


def test_it_runs_as_an_unprivileged_user():
    assert only("USER") == "10001:10001"
    assert any(word == "RUN" and "adduser" in text and "-u 10001" in text for word, text in final())


def test_its_program_is_where_the_build_puts_it():
    path = json.loads(only("ENTRYPOINT"))[0]
    assert only("COPY") == f"--from=build /src/target/dist/tickbell {path}"
    assert json.loads(only("HEALTHCHECK").partition("CMD ")[2]) == [path, "healthcheck"]


def test_its_health_check_is_a_command_of_the_program():
    project.output(project.tickbell(), "healthcheck", "--help")


def test_its_environment_consists_of_settings():
    unknown = set(project.image_environment()) - project.setting_variables()
    assert not unknown, f"these are not settings: {unknown}"


@pytest.mark.parametrize("service", project.services())
def test_its_environment_is_enough_for(service):
    assert project.check_settings([service], project.image_environment() | SECRETS) is None


def test_it_exposes_the_ports_on_which_it_listens():
    assert {int(port) for port in only("EXPOSE").split()} == project.image_ports()
    listens = {key for key, value in project.setting_keys().items() if key.endswith(".listen")}
    given = {key.removeprefix("TICKBELL_").replace("__", ".").lower() for key in project.image_environment()}
    assert listens <= given, f"these listen on localhost in a container: {listens - given}"


def test_a_commit_does_not_invalidate_the_layer_of_dependencies():
    _, _, build, last = project.dockerfile()
    words = [f"{word} {arguments}" for word, arguments in build]
    cook, copy, commit, make = (
        next(number for number, line in enumerate(words) if re.match(start, line))
        for start in ("RUN cargo chef cook", r"COPY \. \.", "ARG COMMIT", "RUN TICKBELL_COMMIT=")
    )
    assert cook < copy < commit < make
    assert [word for word, _ in last][-2:] == ["ARG", "LABEL"], "the commit's label is the last layer"


def test_dependencies_are_built_as_the_program_is():
    lines = " ".join(arguments for word, arguments in project.dockerfile()[2] if word == "RUN")
    cook = re.search(r"cargo chef cook (.+?) --recipe-path", lines)[1]
    build = re.search(r"cargo build (.+?) &&", lines)[1]
    assert cook == build


def test_the_program_knows_the_commit_that_it_is_built_from():
    sources = project.sources("services/tickbell")
    assert any('option_env!("TICKBELL_COMMIT")' in source.read_text() for source in sources)


def admitted() -> list[Path]:
    """Returns the paths that .dockerignore lets into the build."""
    lines = (project.ROOT / ".dockerignore").read_text().split()
    return [project.ROOT / line[1:] for line in lines if line.startswith("!")]


def compiled_in() -> set[Path]:
    """Returns the files that compiling the code reads, without those of tests."""
    found = {project.ROOT / "Cargo.toml", project.ROOT / "Cargo.lock"}
    members = tomllib.loads((project.ROOT / "Cargo.toml").read_text())["workspace"]["members"]
    for member in members:
        found |= set(project.ROOT.glob(f"{member}/Cargo.toml"))
    for source in [*project.sources("services"), *project.sources("schemas")]:
        code = source.read_text().split("#[cfg(test)]")[0]
        found |= {(source.parent / name).resolve() for name in re.findall(r'include_\w+!\(\s*"([^"]+)"', code)}
        crate = next(folder for folder in source.parents if (folder / "Cargo.toml").exists())
        found |= {(crate / name).resolve() for name in re.findall(r'#\[folder = "([^"]+)"\]', code)}
    return found


def test_the_build_context_contains_every_file_that_compiling_reads():
    files = compiled_in()
    assert len(files) > 15
    missing = [file for file in files if not any(file.is_relative_to(path) for path in admitted())]
    assert not missing, f".dockerignore keeps these out: {missing}"
    assert all(path.exists() for path in admitted()), "a line of .dockerignore names no file"


# The tests build the profile `release`, which is about as large as `dist`, the one that the image contains. The script `image`
# holds the image itself to the limit; this test finds growth before there is an image.
def test_it_is_below_its_size_limit(tmp_path):
    limit = int(re.search(r"^limit=(\d+)$", (project.ROOT / "infra/scripts/image").read_text(), re.MULTILINE)[1])
    assert limit <= 55_000_000
    stripped = tmp_path / "tickbell"
    shutil.copy(project.tickbell(), stripped)
    project.output(project.tool("strip"), stripped)
    assert stripped.stat().st_size + BASE_BYTES < limit

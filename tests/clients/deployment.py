"""Runs what docker-compose.yml and the Dockerfile would run, without a container engine.

Usage: deployment.py PROGRAM, with OTPD_TEST_POSTGRES and OTPD_TEST_RABBITMQ set.
Hosts and ports are replaced by those of this machine; all else is as the files have it.
"""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__)
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if "build" in service}
SECRET = {"POSTGRES_PASSWORD", "RABBITMQ_PASSWORD", "OTPD_KEYS__ROOT"}
VARIABLE = re.compile(r"\$\{([A-Z_0-9]+)(:[-?][^}]*)?\}")


def main():
    tests = [test for name, test in globals().items() if name.startswith("check_")]
    failures = 0
    for test in tests:
        name = test.__name__.removeprefix("check_").replace("_", " ")
        try:
            test()
            print(f"ok      {name}", flush=True)
        except Exception as error:  # one failure must not hide the next
            failures += 1
            print(f"FAILED  {name}: {type(error).__name__}: {error}", flush=True)
    print(f"{len(tests) - failures} passed, {failures} failed", flush=True)
    sys.exit(failures > 0)


def check_no_secret_has_a_default():
    for name, default in VARIABLE.findall((ROOT / "docker-compose.yml").read_text()):
        must = name in SECRET
        assert default.startswith(":?" if must else ":-"), f"{name} is written with {default!r}"


def check_env_example_names_every_variable_and_gives_no_secret():
    example = dict(re.findall(r"^([A-Z_0-9]+)=(.*)$", (ROOT / ".env.example").read_text(), re.M))
    used = {name for name, _ in VARIABLE.findall((ROOT / "docker-compose.yml").read_text())}
    assert set(example) == used, f"{set(example) ^ used}"
    assert not any(example[name] for name in SECRET), "a secret is filled in"


def check_every_service_has_limits_and_health():
    for name, service in COMPOSE["services"].items():
        limits = service["deploy"]["resources"]["limits"]
        assert {"cpus", "memory"} <= set(limits), name
        assert "healthcheck" in service or (name in OURS and "HEALTHCHECK" in DOCKERFILE), name


def check_api_and_worker_can_be_scaled():
    for name in ("api", "worker"):
        assert "container_name" not in OURS[name], name
        for port in OURS[name].get("ports", []):
            assert re.fullmatch(r"(127\.0\.0\.1::)?\d+", port), f"{name} has the fixed port {port}"


def check_the_image_has_what_the_build_reads():
    # Whatever cargo needs of the tree must pass .dockerignore, which lets in only what it names.
    let_in = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.M))
    members = re.search(r"^members = \[(.*?)\]", (ROOT / "Cargo.toml").read_text(), re.M | re.S).group(1)
    needed = {"Cargo.toml", "Cargo.lock", "src", *re.findall(r'"([^"]+)"', members)}
    for source in ROOT.glob("*/src/**/*.rs"):
        if source.name == "tests.rs":
            continue  # compiled for tests alone
        for path in re.findall(r'include_(?:str|bytes)!\("([^"]+)"', source.read_text()):
            needed.add((source.parent / path).resolve().relative_to(ROOT).parts[0])
    assert needed <= let_in, f".dockerignore keeps out {needed - let_in}"
    for name in let_in:
        assert (ROOT / name).exists(), f"{name} is gone"


def check_the_image_runs_otpd_as_nobody_special():
    assert re.search(r'^ENTRYPOINT \["otpd"\]$', DOCKERFILE, re.M)
    assert re.search(r"^USER (?!0\b|root\b)\S+$", DOCKERFILE, re.M)
    run([*json.loads(re.search(r"^CMD (\[.*\])$", DOCKERFILE, re.M).group(1))], {})


def check_every_service_has_sound_settings():
    for name in OURS:
        run(["config", "check"], environment(name, {}))


def check_every_alert_is_on_a_metric_that_exists():
    rules = (ROOT / "deploy/rules.yml").read_text()
    sources = "".join(path.read_text() for path in ROOT.glob("*/src/**/*.rs"))
    for metric in set(re.findall(r"\botpd_[a-z_]+", rules)):
        name = re.sub(r"_(bucket|sum|count)$", "", metric)
        assert f'"{name}"' in sources, f"no source has {name}"


def check_the_services_start_answer_and_stop():
    with database() as store:
        migrate = environment("migrate", {"OTPD_STORE__URL": store})
        run(command("migrate"), migrate)
        run(command("migrate"), migrate)
        replicas = [name for name in OURS if name != "migrate" for _ in range(OURS[name]["deploy"].get("replicas", 1))]
        prefix = f"otpd-deployment-{secrets.token_hex(4)}"
        processes = []
        try:
            for number, name in enumerate(replicas):
                processes.append((name, *start(name, f"{name}-{number}", store, prefix)))
            for name, _, log in processes:
                port = poll(lambda log=log: admin_port(log), name)
                poll(lambda port=port: run(["health", f"http://127.0.0.1:{port}/healthz"], {}), name)
                metrics = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60)
                assert metrics.status == 200, name
            for name, process, _ in processes:
                process.send_signal(signal.SIGTERM)
            for name, process, _ in processes:
                assert process.wait(int(OURS[name]["stop_grace_period"].removesuffix("s"))) == 0, name
        finally:
            for _, process, _ in processes:
                process.kill()


def start(name, named, store, prefix):
    settings = {
        "OTPD_STORE__URL": store,
        "OTPD_QUEUE__URL": os.environ["OTPD_TEST_RABBITMQ"],
        "OTPD_QUEUE__PREFIX": prefix,
        "OTPD_SERVER__LISTEN": "127.0.0.1:0",
        "OTPD_SERVER__ADMIN_LISTEN": "127.0.0.1:0",
    }
    log = ROOT / "target/clients" / f"{named}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        process = subprocess.Popen([PROGRAM, *command(name)], env=environment(name, settings), stderr=output)
    return process, log


def admin_port(log):
    told = re.search(r"admin_listen.{0,20}?127\.0\.0\.1:(\d+)", log.read_text())
    assert told, "it has not said where it listens"
    return told.group(1)


def command(name):
    return OURS[name]["command"]


def environment(name, instead):
    """What the container would have: the image's ENV, then the service's, with every variable filled in."""
    image = dict(re.findall(r"(OTPD_[A-Z_]+)=(\S+)", DOCKERFILE))
    values = {variable: secrets.token_hex(32) for variable in SECRET}
    service = {
        key: VARIABLE.sub(lambda found: values.get(found.group(1), ""), value)
        for key, value in OURS[name]["environment"].items()
    }
    return image | service | instead


def run(arguments, settings):
    # Nothing of this process's own environment: a container has none of it either.
    done = subprocess.run([PROGRAM, *arguments], env=settings, capture_output=True, text=True, timeout=60)
    shown = (done.stderr or done.stdout).strip()[-500:]
    assert done.returncode == 0, f"otpd {' '.join(arguments)} ended with {done.returncode}: {shown}"


@contextmanager
def database():
    server = os.environ["OTPD_TEST_POSTGRES"]
    name = f"otpd_deployment_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name}")
        try:
            yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        finally:
            connection.execute(f"drop database {name} with (force)")


def poll(attempt, name, seconds=120):
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except AssertionError as error:
            if time.monotonic() > deadline:
                raise AssertionError(f"{name} was not healthy within {seconds} s: {error}") from None
            time.sleep(0.2)


if __name__ == "__main__":
    main()

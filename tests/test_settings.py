"""Where settings come from, which source wins, and what is said of a wrong one."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from recsys.errors import SettingsError
from recsys.settings import Settings, load_settings, setting_names

CONFIG_DIR = "RECSYS_CONFIG_DIR"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    directory = tmp_path / "config"
    directory.mkdir()
    return directory


def load(config: Path, **environ: str) -> Settings:
    return load_settings({CONFIG_DIR: str(config)} | {f"RECSYS_{name}": value for name, value in environ.items()})


def refusal(config: Path, **environ: str) -> str:
    with pytest.raises(SettingsError) as caught:
        load(config, **environ)
    return str(caught.value)


class TestDefaults:
    def test_are_those_of_the_contract(self, config: Path) -> None:
        settings = load(config)

        assert (settings.environment, settings.server.host, settings.server.port) == ("development", "127.0.0.1", 8000)
        assert (Path("data/models"), Path("data/state")) == (settings.paths.models, settings.paths.state)
        assert (settings.data.path, settings.model.version, settings.cors.origins) == (None, None, ())
        assert (settings.log.level, settings.log_format) == ("INFO", "console")

    def test_hold_without_any_directory_of_files(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

        assert Settings() == load_settings({})

    def test_cannot_be_changed_afterwards(self, config: Path) -> None:
        with pytest.raises(ValidationError):
            load(config).server.port = 1  # type: ignore[misc]

    def test_of_production_log_as_json(self, config: Path) -> None:
        assert load(config, ENVIRONMENT="production").log_format == "json"
        assert load(config, ENVIRONMENT="production", LOG__FORMAT="console").log_format == "console"


class TestPrecedence:
    def test_a_file_is_over_the_default(self, config: Path) -> None:
        (config / "default.toml").write_text("[server]\nport = 1001\n")

        assert load(config).server.port == 1001

    def test_the_file_of_the_environment_is_over_the_file_of_all(self, config: Path) -> None:
        (config / "default.toml").write_text('[server]\nport = 1001\nhost = "127.0.0.2"\n')
        (config / "production.toml").write_text("[server]\nport = 1002\n")

        settings = load(config, ENVIRONMENT="production")
        assert (settings.server.port, settings.server.host) == (1002, "127.0.0.2")
        assert load(config).server.port == 1001

    def test_a_variable_is_over_every_file(self, config: Path) -> None:
        (config / "default.toml").write_text("[server]\nport = 1001\n")
        (config / "development.toml").write_text("[server]\nport = 1002\n")

        assert load(config, SERVER__PORT="1003").server.port == 1003

    def test_the_command_line_is_over_a_variable(self, config: Path) -> None:
        environ = {CONFIG_DIR: str(config), "RECSYS_SERVER__PORT": "1003", "RECSYS_SERVER__HOST": "127.0.0.3"}
        settings = load_settings(environ, {"server": {"port": 1004, "host": None}})

        assert (settings.server.port, settings.server.host) == (1004, "127.0.0.3")

    def test_a_file_may_name_the_environment(self, config: Path) -> None:
        (config / "default.toml").write_text('environment = "production"\n')
        (config / "production.toml").write_text("[server]\nport = 1002\n")

        assert load(config).server.port == 1002
        assert load(config, ENVIRONMENT="development").server.port == 8000

    def test_only_named_values_change(self, config: Path) -> None:
        expected = Settings().server.model_dump() | {"port": 1003}

        assert expected == load(config, SERVER__PORT="1003").server.model_dump()

    def test_a_list_is_replaced_and_not_joined(self, config: Path) -> None:
        (config / "default.toml").write_text('[cors]\norigins = ["https://a.example"]\n')

        assert load(config, CORS__ORIGINS='["https://b.example"]').cors.origins == ("https://b.example",)


class TestVariables:
    @pytest.mark.parametrize("text", ["", " ", "\t"])
    def test_an_empty_one_counts_as_not_set(self, config: Path, text: str) -> None:
        """Compose files write an unset variable as an empty one."""
        (config / "default.toml").write_text("[server]\nport = 1001\n")

        assert load(config, SERVER__PORT=text).server.port == 1001
        assert None is load(config, MODEL__VERSION=text).model.version

    def test_blanks_around_a_value_do_not_count(self, config: Path) -> None:
        assert load(config, SERVER__PORT=" 1003 ").server.port == 1003

    @pytest.mark.parametrize(("text", "expected"), [("true", True), ("false", False), ("1", True), ("0", False)])
    def test_switches(self, config: Path, text: str, expected: bool) -> None:
        assert expected is load(config, LOG__ACCESS=text).log.access

    def test_lists_are_json(self, config: Path) -> None:
        origins = load(config, CORS__ORIGINS='["https://a.example", "http://localhost:3000"]').cors.origins

        assert origins == ("https://a.example", "http://localhost:3000")
        assert load(config, CORS__ORIGINS="[]").cors.origins == ()

    def test_a_log_level_in_any_case(self, config: Path) -> None:
        assert load(config, LOG__LEVEL="debug").log.level == "DEBUG"

    def test_others_than_ours_are_left_alone(self, config: Path) -> None:
        assert Settings() == load_settings(
            {CONFIG_DIR: str(config), "PATH": "/bin", "RECSYSTEM": "x", "SERVER__PORT": "1"}
        )

    def test_of_the_contract_are_known(self) -> None:
        assert {
            "RECSYS_ENVIRONMENT",
            *("RECSYS_SERVER__HOST", "RECSYS_SERVER__PORT", "RECSYS_DATA__PATH", "RECSYS_PATHS__MODELS"),
            *("RECSYS_PATHS__STATE", "RECSYS_MODEL__VERSION", "RECSYS_CORS__ORIGINS"),
            *("RECSYS_LOG__LEVEL", "RECSYS_LOG__FORMAT"),
        } <= set(setting_names())

    def test_are_each_described(self) -> None:
        assert [name for name, meaning in setting_names().items() if not meaning] == []


class TestWrong:
    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("SERVER__PROT", "RECSYS_SERVER__PORT"),
            ("SERVER_PORT", "RECSYS_SERVER__PORT"),
            ("SEVER__PORT", "RECSYS_SERVER__PORT"),
            ("CORS__ORIGIN", "RECSYS_CORS__ORIGINS"),
            ("ENVIROMENT", "RECSYS_ENVIRONMENT"),
            ("MODELS__VERSION", "RECSYS_MODEL__VERSION"),
        ],
    )
    def test_a_mistyped_name_is_told_what_was_meant(self, config: Path, name: str, meant: str) -> None:
        text = refusal(config, **{name: "1"})

        assert f"RECSYS_{name}" in text
        assert f"did you mean {meant}?" in text

    def test_a_name_like_no_other_is_refused_too(self, config: Path) -> None:
        assert "RECSYS_ZZZ: there is no such setting" in refusal(config, ZZZ="1")

    def test_a_mistyped_name_in_a_file_is_told_what_was_meant(self, config: Path) -> None:
        (config / "default.toml").write_text("[server]\nprot = 80\n")

        assert "RECSYS_SERVER__PROT: there is no such setting; did you mean RECSYS_SERVER__PORT?" in refusal(config)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            *(("SERVER__PORT", value) for value in ("http", "-1", "65536", "80.5", "0x50")),
            *(("SERVER__BODY_TIMEOUT_S", value) for value in ("0", "-1", "soon", "nan", "inf")),
            ("SERVER__MAX_BODY_BYTES", "1"),
            ("ENVIRONMENT", "prod"),
            *(("MODEL__VERSION", value) for value in ("1.0.0", "latest", "v1", "v1.0.0-rc1", "v01.0.0", "../v1.0.0")),
            ("LOG__LEVEL", "LOUD"),
            ("LOG__FORMAT", "xml"),
            ("LOG__ACCESS", "perhaps"),
            *(
                ("CORS__ORIGINS", f'["{value}"]')
                for value in ("films.example", "https://", "https://a.example/", "ftp://a")
            ),
            ("CORS__ORIGINS", "https://films.example"),
            ("CORS__ORIGINS", "[1]"),
            ("TRAINING__DROPOUT", "1"),
            ("DATA__MAX_BAD_SHARE", "2"),
        ],
    )
    def test_a_wrong_value_is_named_with_its_variable_and_the_settings_meaning(
        self, config: Path, name: str, value: str
    ) -> None:
        text = refusal(config, **{name: value})

        assert f"RECSYS_{name}: " in text
        assert value.strip('[]"') in text
        assert setting_names()[f"RECSYS_{name}"] in text
        assert "\n" not in text

    @pytest.mark.parametrize("text", ['["https://a.example"', "[https://a.example]", "['https://a.example']"])
    def test_a_list_that_is_no_json_says_so(self, config: Path, text: str) -> None:
        found = refusal(config, CORS__ORIGINS=text)

        assert "RECSYS_CORS__ORIGINS: " in found
        assert "is not a JSON list" in found

    def test_every_wrong_setting_is_named_at_once(self, config: Path) -> None:
        text = refusal(config, SERVER__PORT="http", LOG__LEVEL="LOUD", ZZZ="1")

        assert {"RECSYS_SERVER__PORT", "RECSYS_LOG__LEVEL", "RECSYS_ZZZ"} <= set(re.findall(r"RECSYS_\w+", text))

    def test_a_value_where_a_section_is_names_both(self, config: Path) -> None:
        assert "RECSYS_SERVER" in refusal(config, SERVER="1")
        assert "RECSYS_SERVER__PORT" in refusal(config, SERVER="1", SERVER__PORT="80")

    def test_a_section_where_a_value_is_names_it(self, config: Path) -> None:
        assert "RECSYS_SERVER__PORT" in refusal(config, SERVER__PORT__EXTRA="1")

    @pytest.mark.parametrize("content", ["[server\n", "port == 1", "\x00", "[server]\nport = 1\nport = 2\n"])
    def test_a_file_that_is_no_toml_is_named(self, config: Path, content: str) -> None:
        (config / "default.toml").write_text(content)

        assert str(config / "default.toml") in refusal(config)

    def test_a_file_that_is_no_text_is_named(self, config: Path) -> None:
        (config / "default.toml").write_bytes(b"\xff\xfe")

        assert str(config / "default.toml") in refusal(config)


class TestConfigDir:
    def test_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        assert f"{CONFIG_DIR}: there is no directory {tmp_path / 'gone'}" in refusal(tmp_path / "gone")

    def test_is_config_beside_us_when_not_set(self, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (config / "default.toml").write_text("[server]\nport = 1001\n")
        monkeypatch.chdir(config.parent)

        assert load_settings({}).server.port == 1001
        assert load_settings({CONFIG_DIR: ""}).server.port == 1001

    def test_of_the_project_is_sound_in_every_environment(self) -> None:
        directory = Path(__file__).parents[1] / "config"

        for environment in ("development", "production"):
            assert environment == load(directory, ENVIRONMENT=environment).environment

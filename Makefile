# Mainflow: the commands of the README. `make` alone shows them.

RUNTIME = unixodbc libsqliteodbc odbc-postgresql
TESTING = influxdb

.PHONY: help demo install up test lint format

help:
	@echo "make demo     装好并走完全程 / set up and run the whole way once"
	@echo "make install  只安装 / set up only; then .venv/bin/mainflow --help"
	@echo "make up       保持运行 / keep the demo site running"
	@echo "make lint     格式、类型、模块边界 / format, lint, types, import contracts"
	@echo "make test     以上与全部测试 / that and every test"

install:
	@scripts/setup --system $(RUNTIME)

demo: install
	@.venv/bin/mainflow demo demo

up: install
	@.venv/bin/mainflow up --site demo

test:
	@scripts/setup --system $(RUNTIME) $(TESTING)
	@scripts/check

lint:
	@scripts/setup
	@scripts/lint

format:
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

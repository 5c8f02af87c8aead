# What CI runs, and the shortcuts people want. Every target works on a fresh clone with the .NET 10 SDK alone.
CONFIGURATION ?= Release

.PHONY: check build format test test-slow arm64 bench chaos settings vocabularies npm-clients pack run clean

check: build format test ## what must pass before a commit

build: ## restore and build, warnings are errors
	dotnet build TpServe.sln -c $(CONFIGURATION)

format: ## fails where `dotnet format` would change a file
	dotnet format TpServe.sln --verify-no-changes --no-restore

test: ## every test that needs neither a GPU nor a file outside the clone
	dotnet test TpServe.sln -c $(CONFIGURATION) --no-build

arm64: ## the arm64 kernels under qemu-user, about three minutes; skips where qemu is missing
	bash tests/arm64.sh

npm-clients: ## installs the clients from npm that tests/Clients.Tests runs where they are
	npm ci --prefix tests/Clients.Tests/node --ignore-scripts --no-audit --no-fund

pack: ## the client's NuGet package, into artifacts/
	dotnet pack src/Client -c $(CONFIGURATION) -o artifacts

vocabularies: ## fetches the public vocabularies that some tokenizer vectors need (npm)
	bash tests/Data/tokenizers/fetch-vocabularies.sh

bench: ## kernels, collectives and whole models, printed as tables
	dotnet run --project tests/Benchmarks -c $(CONFIGURATION) -- peers

chaos: ## 1,000 faults at random moments under load, printed as they come and as a table; FAULTS=30 SEED=8 as in the test
	dotnet run --project tests/Chaos -c $(CONFIGURATION) -- --faults $(or $(FAULTS),1000) $(if $(SEED),--seed $(SEED))

settings: ## writes docs/SETTINGS.md from the tables of gateway and worker
	dotnet run --project src/Gateway -c $(CONFIGURATION) -- settings > docs/SETTINGS.md
	dotnet run --project src/Worker -c $(CONFIGURATION) -- settings >> docs/SETTINGS.md

run: ## serve the embedded model
	dotnet run --project src/Gateway -c $(CONFIGURATION)

clean:
	dotnet clean TpServe.sln -c $(CONFIGURATION)
	rm -rf .goldens-cache

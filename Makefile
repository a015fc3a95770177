# make                  set up .venv, and run each of the lesson's five steps that is out of date
# make browser          build and serve a page that runs files (HOST, PORT, MODEL, SAMPLES)
# make microcontroller  run files with tflite-micro, and write one as a C array (MODEL)
# make native           build the C program build/native/deploy, and run the lesson's files with it
# make book             build the lesson as web pages in English and Korean, in build/book
# make book-texts       update docs/locale after the text of a chapter has changed
# make notebooks        run the scripts as notebooks, in build/notebooks
# make test             set up, check the style and run the tests
# make bench            compare the scripts' speed with the 2021 tutorial's (forty minutes)
# make fuzz             test all models and damaged files instead of a few (ten minutes)
# make clean            remove everything that the steps created
# make help             print this list

PYTHON ?= python3
# The stamp names the Python version, so that another PYTHON gets a new environment.
version := $(or $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' \
	2>/dev/null),missing)
installed := .venv/installed-$(version)
tools := .venv/tools-$(version)
modules := $(wildcard litecheck/*.py)
extra := .venv/extra-$(version)
# constraints.txt has versions that were tested together. Every clone gets the same versions.
pip := .venv/bin/pip install --disable-pip-version-check -c constraints.txt
# LiteRT.js has one build for browsers with relaxed SIMD, and one for other browsers.
builds := litert_wasm_internal litert_wasm_compat_internal
# A program's own directory, in the list of directories where it looks for libraries
beside := $(if $(filter Darwin,$(shell uname -s)),@loader_path,$$ORIGIN)

.PHONY: all book book-texts deploy browser microcontroller native compiler notebooks test bench fuzz clean help graphviz
.DELETE_ON_ERROR:

all: deploy

# A pattern rule makes all its targets in one run. Here % stands for the last letter of my_model.
saved_model/my_mode%.keras saved_model/my_mode%/saved_model.pb saved_model/my_mode%.samples.npy \
saved_model/my_mode%.training.png: \
		01_create_model.py $(modules) | $(installed)
	.venv/bin/python 01_create_model.py

saved_model/my_model.png: 02_load_model.py $(modules) saved_model/my_model.keras \
		saved_model/my_model/saved_model.pb
	.venv/bin/python 02_load_model.py

saved_model/my_model.cmdline.tflite: convert-tflite.sh saved_model/my_model/saved_model.pb
	PATH=".venv/bin:$$PATH" sh convert-tflite.sh

saved_model/my_mode%.tflite saved_model/my_mode%.quant.tflite saved_model/my_mode%.dynamic.tflite \
saved_model/my_mode%.int8.tflite saved_model/my_mode%.variants.png: \
		03_convert_model.py $(modules) saved_model/my_mode%/saved_model.pb \
		saved_model/my_mode%.samples.npy
	.venv/bin/python 03_convert_model.py

# Three steps need only the first step, so they run in parallel. The output of each stays in one
# piece. macOS has make 3.81, which cannot do this: there they run one after another.
.PHONY: middle
middle: saved_model/my_model.png saved_model/my_model.cmdline.tflite saved_model/my_model.tflite \
		saved_model/my_model.int8.tflite saved_model/my_model.variants.png
	@:

# The last step writes no file, so it runs every time.
deploy: saved_model/my_model.keras saved_model/my_model/saved_model.pb | graphviz
	@$(MAKE) --no-print-directory $(if $(filter output-sync,$(.FEATURES)), \
	  $(if $(findstring jobserver,$(MAKEFLAGS)),,-j3) --output-sync) middle
	.venv/bin/python 04_deploy_tflite.py
	@echo
	@echo "To read the lesson as a book:    make book"
	@echo "To convert your own model:       . .venv/bin/activate && litecheck convert MODEL"

# The page shows the lesson's model, or MODEL. The page of MODEL is rebuilt every time.
page := build/browser$(if $(MODEL),-own)
litertjs := build/npm/node_modules/@litertjs

browser: $(page) $(extra)-browser
	@.venv/bin/python browser/serve.py $(page)

# The page needs files with a fixed batch size and without states, so it converts the model again.
model := $(or $(MODEL),saved_model/my_model)
$(page): $(wildcard browser/*) $(litertjs) $(modules) \
		$(if $(MODEL),always,saved_model/my_model/saved_model.pb saved_model/my_model.samples.npy) \
		| $(installed)
	rm -rf $@.new
	mkdir -p $@.new/litert/wasm
	cp browser/index.html browser/*.js browser/style.css $@.new
	cp $(litertjs)/core/dist/index.js $@.new/litert/core.js
	cp $(litertjs)/wasm-utils/dist/index.js $@.new/litert/wasm-utils.js
	cp $(foreach build,$(builds),$(litertjs)/core/wasm/$(build).*) $@.new/litert/wasm
	.venv/bin/python browser/colors.py >$@.new/variants.js
	.venv/bin/litecheck convert '$(model)' --batch 1 --loops --float-ends --output $@.new/model \
	  $(if $(SAMPLES),--samples '$(SAMPLES)')
	rm $@.new/*.png
	rm -rf $@
	mv $@.new $@

$(litertjs): browser/package.json browser/package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing. Install it with" \
	  "'sudo apt-get install npm' or 'brew install node'." >&2; exit 1; }
	rm -rf build/npm
	mkdir -p build/npm
	cp browser/package*.json build/npm
	npm ci --prefix build/npm --no-audit --no-fund --loglevel=error
	touch $@

.PHONY: always
always:

microcontroller: $(extra)-microcontroller \
		$(if $(MODEL),,saved_model/my_model.tflite saved_model/my_model.int8.tflite)
	@.venv/bin/python microcontroller/run.py $(MODEL)

native: compiler build/native/deploy saved_model/my_model.tflite saved_model/my_model.quant.tflite \
		saved_model/my_model.dynamic.tflite saved_model/my_model.int8.tflite
	@for file in $(filter %.tflite,$^); do build/native/deploy $$file 150 || exit; done

compiler:
	@command -v $(CC) >/dev/null || { echo "$(CC) is missing. Install a C compiler with" \
	  "'sudo apt-get install gcc' or 'xcode-select --install'." >&2; exit 1; }

# The program looks for the library in its own directory, so both can be copied to another place.
build/native/deploy: $(wildcard native/*) $(installed) | compiler
	mkdir -p build/native
	cp .venv/lib/python$(version)/site-packages/ai_edge_litert/libLiteRt.* build/native
	$(CC) -std=c11 -O2 -Wall -Wextra -pedantic -o $@ native/deploy.c -Lbuild/native -lLiteRt -lm \
	  '-Wl,-rpath,$(beside)'

sphinx := .venv/bin/sphinx-build -W --keep-going --quiet -c docs

book: build/book/source
	for language in en ko; do \
	  $(sphinx) -D language=$$language -d build/book/$$language.doctrees \
	    build/book/source/$$language build/book/$$language || exit; \
	done
	cp docs/start.html build/book/index.html
	@echo "The book is at build/book/index.html"

# The chapters and the first page are translated by catalogues, the other pages are written twice.
book-texts: build/book/source
	$(sphinx) -b gettext build/book/source/en build/book/texts
	rm $(patsubst docs/%.md,build/book/texts/%.pot,$(filter-out docs/index.md,$(wildcard docs/*.md)))
	.venv/bin/sphinx-intl update -p build/book/texts -d docs/locale -l ko -w 120 --no-obsolete

# Sphinx reads one directory for each language. In it, chapters and pages are side by side.
links := sed -E 's,\]\((\.\./)+(0[0-9]_[a-z_]+)\.py,](\2.ipynb,; s,\]\(docs/,](,g'
.PHONY: build/book/source
build/book/source: notebooks $(extra)-book
	rm -rf build/book
	mkdir -p $@/en $@/ko
	cp docs/*.png $@/en
	cp docs/ko/*.png $@/ko
	for file in docs/*.md build/notebooks/0*.ipynb; do \
	  $(links) $$file >$@/en/$${file##*/} || exit; \
	done
	cp $@/en/index.md $@/en/0*.ipynb $@/ko
	for file in docs/ko/*.md; do $(links) $$file >$@/ko/$${file##*/} || exit; done

notebooks: $(tools) graphviz
	mkdir -p build/notebooks build/ipython/profile_default
	cp docs/ipython_kernel_config.py build/ipython/profile_default
	for script in 0*.py; do \
	  .venv/bin/jupytext --quiet --set-kernel python3 \
	    --output build/notebooks/$${script%.py}.ipynb $$script || exit; \
	done
	IPYTHONDIR="$(CURDIR)/build/ipython" .venv/bin/jupyter execute --inplace build/notebooks/0*.ipynb

test: $(tools) graphviz
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/shellcheck convert-tflite.sh .ci/run
	.venv/bin/pytest -n 2 --dist loadfile -rs  # tests of one file share their fixtures

bench: $(tools) build/native/deploy
	.venv/bin/python tests/benchmark.py

fuzz: $(tools)
	FUZZ_SHARE=1 .venv/bin/pytest -n 2 -s tests/test_fuzz.py tests/test_rounding.py

clean:
	rm -rf build saved_model/my_model saved_model/my_model.* saved_model/.new-*

help:
	@sed -n '1,/^$$/s/^# //p' Makefile

$(installed): requirements.txt constraints.txt pyproject.toml
	@case "$(version)" in 3.11|3.12|3.13) ;; *) \
	  echo "PYTHON=$(PYTHON) is $(version), but TensorFlow 2.21 was tried on Python 3.11 to 3.13" \
	    "only. Name one of them, for example: PYTHON=python3.12 make" >&2; exit 1 ;; \
	esac
	$(PYTHON) -m venv --clear .venv
	$(pip) -e '.[convert]'
	@touch $@

$(tools): tests/requirements.txt $(installed)
	$(pip) --quiet -r tests/requirements.txt
	@touch $@

$(extra)-book: docs/requirements.txt $(tools)
	$(pip) --quiet -r docs/requirements.txt
	@touch $@

$(extra)-browser: browser/requirements.txt $(installed)
	$(pip) --quiet -r browser/requirements.txt
	@touch $@

$(extra)-microcontroller: microcontroller/requirements.txt $(installed)
	@$(pip) --quiet -r microcontroller/requirements.txt || \
	  { echo "tflite-micro could not be installed: its builds are for Linux" \
	    "on x86_64 with Python 3.11 to 3.14" >&2; exit 1; }
	@touch $@

graphviz:
	@if ! command -v dot >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && apt-get install -qq -y graphviz >/dev/null; \
	  else \
	    echo "Graphviz's dot is missing, so stage 2 will draw nothing. Install it with" \
	      "'sudo apt-get install graphviz' or 'brew install graphviz'."; \
	  fi; \
	fi

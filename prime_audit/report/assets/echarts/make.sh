#!/usr/bin/env bash
# Make echarts.min.js again (npm and a network needed): the same versions give the same bytes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp "$here/package.json" "$here/entry.js" "$work"
cd "$work"
npm install --no-audit --no-fund --no-package-lock
{
  echo '/*!'
  echo 'Apache ECharts 6.1.0, in part (charts: custom, line, scatter), under the Apache License 2.0,'
  echo 'https://www.apache.org/licenses/LICENSE-2.0'
  cat "$here/NOTICE"
  printf '\n\nIt holds zrender 6.1.0:\n\n'
  cat "$here/LICENSE-zrender"
  printf '\n\nand parts of d3:\n\n'
  cat "$here/LICENSE-d3"
  echo '*/'
} > banner.txt
npx esbuild entry.js --bundle --minify --charset=ascii --target=es2020 --format=iife --global-name=echarts \
  --legal-comments=eof --banner:js="$(cat banner.txt)" --outfile="$here/echarts.min.js"
sha256sum "$here/echarts.min.js"

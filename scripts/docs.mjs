// npm run docs [-- --check]: writes docs/api, the reference, from the doc comments, and llms-full.txt from all pages; or says
// whether they are as it would write them. TypeScript 7 has no API for tools: typedoc reads the sources with TypeScript 6,
// which is installed for it beside scripts/reference/package.json.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const here = join(root, 'scripts', 'reference')
const REFERENCE = 'docs/api'
const FULL = 'llms-full.txt'
const checking = process.argv.includes('--check')

const draft = mkdtempSync(join(tmpdir(), 'posthaste-docs-'))
process.on('exit', () => rmSync(draft, { recursive: true, force: true }))

if (!existsSync(join(here, 'node_modules', 'typedoc')))
  must('npm', ['ci', '--ignore-scripts', '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error'])
must(process.execPath, [
  'node_modules/typedoc/bin/typedoc',
  ...['--options', 'typedoc.json', '--logLevel', 'Warn', '--out', join(draft, REFERENCE)],
  ...entries().flatMap((entry) => ['--entryPoints', join(root, entry)]),
  ...(checking ? ['--treatValidationWarningsAsErrors'] : []),
])
for (const page of pages(draft)) write(page, linked(page, read(draft, page)))
write(FULL, whole())

if (checking) compare()
else publish()

function entries() {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  return Object.values(exports)
    .filter((target) => typeof target === 'object')
    .map(({ default: built }) => built.replace('./dist/', 'src/').replace(/\.js$/, '.ts'))
}

/** Sources are linked by file: a line number would change with every change. */
function linked(page, text) {
  const up = relative(dirname(page), '.')
  return text.replaceAll(/\[[^\]]*\]\(source:([^)]+)\)/g, (_, file) => `[src/${file}](${up}/src/${file})`)
}

/** All pages in one, for those who read them at once. */
function whole() {
  const index = readFileSync(join(root, 'llms.txt'), 'utf8')
  const led = [...index.matchAll(/\]\(([^)#]+\.md)\)/g)]
    .map(([, page]) => page)
    .filter((page) => !page.startsWith(REFERENCE))
  return [index, ...new Set(led)]
    .map((page) => (page === index ? index : `<!-- ${page} -->\n\n${read(root, page)}`))
    .join('\n')
}

function compare() {
  const [made, there] = [pages(draft), [...pages(root), FULL].filter((page) => existsSync(join(root, page)))]
  const stale = [...new Set([...made, FULL, ...there])].filter(
    (page) => !existsSync(join(root, page)) || !existsSync(join(draft, page)) || read(root, page) !== read(draft, page),
  )
  if (stale.length === 0) return console.log(`the reference is current: ${made.length} pages`)
  console.error(
    `Not current, "npm run docs" writes them: ${stale.slice(0, 10).join(', ')}${stale.length > 10 ? ' …' : ''}`,
  )
  process.exitCode = 1
}

function publish() {
  rmSync(join(root, REFERENCE), { recursive: true, force: true })
  cpSync(draft, root, { recursive: true })
  console.log(`wrote ${pages(root).length} pages below ${REFERENCE}, and ${FULL}`)
}

function pages(directory) {
  return globSync(`${REFERENCE}/**/*.md`, { cwd: directory })
    .map((page) => page.replaceAll('\\', '/'))
    .sort()
}

function read(directory, page) {
  return readFileSync(join(directory, page), 'utf8')
}

function write(page, text) {
  mkdirSync(dirname(join(draft, page)), { recursive: true })
  writeFileSync(join(draft, page), text)
}

function must(program, args) {
  const { status, error } = spawnSync(program, args, {
    cwd: here,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  })
  if (error) console.error(`Cannot run "${program}": ${error.message}`)
  if (status !== 0) process.exit(status ?? 1)
}

// What package.json promises is there after a build: every export has its types and can be imported by name.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'

const { name, exports, bin } = JSON.parse(readFileSync('package.json', 'utf8'))
const built = spawnSync(process.execPath, ['scripts/build.mjs'], { stdio: 'inherit' }).status === 0
const complaints = built ? [...missingFiles(), ...(await unimportable())] : ['it does not build']
for (const complaint of complaints) console.error(`Cannot publish "${name}": ${complaint}`)
process.exitCode = complaints.length > 0 ? 1 : 0

function missingFiles() {
  const promised = [...Object.values(exports), bin].flatMap((entry) =>
    typeof entry === 'string' ? entry : Object.values(entry),
  )
  return promised.filter((file) => !existsSync(file)).map((file) => `${file} is missing`)
}

async function unimportable() {
  const entries = Object.keys(exports).filter((entry) => !entry.endsWith('.json'))
  const tried = entries.map((entry) =>
    import(`${name}${entry.slice(1)}`).then(
      () => [],
      (error) => [`${entry}: ${error.message}`],
    ),
  )
  return (await Promise.all(tried)).flat()
}

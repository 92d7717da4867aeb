import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { expect, it } from 'vitest'
import { ROOT } from '../support/process.ts'
import { PAGES } from './blocks.ts'

const GUIDES = PAGES.filter((page) => page.startsWith('docs/') && page !== 'docs/README.md')

it.each(PAGES)('every link of %s leads somewhere', (page) => {
  expect(linksOf(page).filter((link) => !resolves(page, link))).toEqual([])
})

it('every link of the reference leads somewhere', () => {
  const pages = globSync('docs/api/**/*.md', { cwd: ROOT })
  const links = pages.flatMap((page) => linksOf(page).map((link) => ({ page, link })))
  expect(links.filter(({ page, link }) => !resolves(page, link))).toEqual([])
})

it('the index and llms.txt lead to every page', () => {
  for (const index of ['docs/README.md', 'llms.txt']) {
    const led = linksOf(index).map((link) => normalize(join(dirname(index), link.split('#')[0]!)))
    expect({ index, missing: GUIDES.filter((page) => !led.includes(page)) }).toEqual({ index, missing: [] })
  }
})

function linksOf(page: string): string[] {
  const prose = readFileSync(join(ROOT, page), 'utf8').replaceAll(/^```.*?^```$/gms, '')
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link!)
}

function resolves(page: string, link: string): boolean {
  if (/^https:\/\/\S+$/.test(link)) return true
  const [path, anchor] = link.split('#')
  const target = path === '' ? page : join(dirname(page), decodeURIComponent(path!))
  if (!existsSync(join(ROOT, target))) return false
  return anchor === undefined || !target.endsWith('.md') || anchorsOf(target).has(decodeURIComponent(anchor))
}

const ANCHORS = new Map<string, Set<string>>()

function anchorsOf(page: string): Set<string> {
  if (!ANCHORS.has(page)) ANCHORS.set(page, readAnchors(page))
  return ANCHORS.get(page)!
}

// Headings become anchors as GitHub makes them; of several that are alike the second ends in -1.
function readAnchors(page: string): Set<string> {
  const text = readFileSync(join(ROOT, page), 'utf8').replaceAll(/^```.*?^```$/gms, '')
  const seen = new Map<string, number>()
  const headings = [...text.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading]) => {
    const slug = heading!
      .toLowerCase()
      .replaceAll(/\\(.)/g, '$1')
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(' ', '-')
    const before = seen.get(slug) ?? 0
    seen.set(slug, before + 1)
    return before === 0 ? slug : `${slug}-${before}`
  })
  const named = [...text.matchAll(/<a (?:id|name)="([^"]+)"/g)].map(([, name]) => name!)
  return new Set([...headings, ...named])
}

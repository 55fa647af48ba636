// Verify an exported log with Go's own libraries: golang.org/x/mod/sumdb/note reads the checkpoint, and
// golang.org/x/mod/sumdb/tlog authenticates tiles, records, trees and proof files. Nothing of ours is linked.
//
//	verify KEY DIRECTORY...
//
// It prints one line for each directory, "ok" or "refused" and why, and exits with 1 if any was refused.
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

// files reads the tiles of C2SP tlog-tiles: the names of sumdb without the height.
type files struct {
	root string
	seen map[string][]byte
}

func (f files) Height() int { return height }

func (f files) SaveTiles([]tlog.Tile, [][]byte) {}

func (f files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := f.read(strings.Replace(tile.Path(), "tile/8/", "tile/", 1))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (f files) read(name string) ([]byte, error) {
	if data, ok := f.seen[name]; ok {
		return data, nil
	}
	data, err := os.ReadFile(filepath.Join(f.root, name))
	f.seen[name] = data
	return data, err
}

func openCheckpoint(message []byte, key note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(message, note.VerifierList(key))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != key.Name() {
		return tlog.Tree{}, fmt.Errorf("the checkpoint has other lines than origin, size and root")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	hash, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: hash}, err
}

// entries reads the bundles and checks that every entry states its own number.
func entries(f files, size int64) ([][]byte, error) {
	var all [][]byte
	for start := int64(0); start < size; start += 1 << height {
		tile := tlog.Tile{H: height, L: 0, N: start >> height, W: 1 << height}
		if size-start < 1<<height {
			tile.W = int(size - start)
		}
		data, err := f.read(strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1))
		if err != nil {
			return nil, err
		}
		for place := 0; place < tile.W; place++ {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				return nil, fmt.Errorf("bundle %d ends in the middle of an entry", tile.N)
			}
			length := 2 + int(binary.BigEndian.Uint16(data))
			var stated struct{ Seq int64 }
			if json.Unmarshal(data[2:length], &stated) != nil || stated.Seq != start+int64(place) {
				return nil, fmt.Errorf("entry %d states another number", start+int64(place))
			}
			all, data = append(all, data[2:length]), data[length:]
		}
		if len(data) > 0 {
			return nil, fmt.Errorf("bundle %d holds more than it should", tile.N)
		}
	}
	return all, nil
}

// authenticated reads every hash of the tree once, from tiles that sumdb has checked against its root.
func authenticated(tree tlog.Tree, f files) (tlog.HashReader, error) {
	indexes := make([]int64, tlog.StoredHashCount(tree.N))
	for place := range indexes {
		indexes[place] = int64(place)
	}
	all, err := tlog.TileHashReader(tree, f).ReadHashes(indexes)
	return tlog.HashReaderFunc(func(asked []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(asked))
		for place, index := range asked {
			found[place] = all[index]
		}
		return found, nil
	}), err
}

func checkRecords(all [][]byte, tree tlog.Tree, hashes tlog.HashReader) error {
	for index, body := range all {
		proof, err := tlog.ProveRecord(tree.N, int64(index), hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, int64(index), tlog.RecordHash(body)); err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
	}
	return nil
}

// checkTrees proves consistency between the trees of any two powers of two, and of each with the whole.
func checkTrees(tree tlog.Tree, hashes tlog.HashReader) (int, error) {
	var trees []tlog.Tree
	for size := int64(1); size < tree.N; size *= 2 {
		hash, err := tlog.TreeHash(size, hashes)
		if err != nil {
			return 0, err
		}
		trees = append(trees, tlog.Tree{N: size, Hash: hash})
	}
	trees = append(trees, tree)
	count := 0
	for place, newer := range trees {
		for _, older := range trees[:place] {
			proof, err := tlog.ProveTree(newer.N, older.N, hashes)
			if err != nil {
				return 0, err
			}
			if err := tlog.CheckTree(proof, newer.N, newer.Hash, older.N, older.Hash); err != nil {
				return 0, err
			}
			wrong := older.Hash
			wrong[0] ^= 1
			if tlog.CheckTree(proof, newer.N, newer.Hash, older.N, wrong) == nil {
				return 0, fmt.Errorf("a wrong older root of %d entries was accepted", older.N)
			}
			count++
		}
	}
	return count, nil
}

// checkProof verifies one tlog-proof@v1 file, which carries its entry.
func checkProof(path string, key note.Verifier) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	parts := bytes.SplitN(text, []byte("\n\n"), 2)
	lines := strings.Split(string(parts[0]), "\n")
	if len(parts) != 2 || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return fmt.Errorf("%s is not a proof file", path)
	}
	body, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		proof = append(proof, hash)
	}
	tree, err := openCheckpoint(parts[1], key)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(body))
}

func verify(directory string, key note.Verifier) (string, error) {
	f := files{directory, map[string][]byte{}}
	message, err := f.read("checkpoint")
	if err != nil {
		return "", err
	}
	tree, err := openCheckpoint(message, key)
	if err != nil {
		return "", err
	}
	all, err := entries(f, tree.N)
	if err != nil {
		return "", err
	}
	hashes, err := authenticated(tree, f)
	if err != nil {
		return "", err
	}
	if err := checkRecords(all, tree, hashes); err != nil {
		return "", err
	}
	count, err := checkTrees(tree, hashes)
	if err != nil {
		return "", err
	}
	proofs, _ := filepath.Glob(filepath.Join(directory, "*.tlog-proof"))
	for _, path := range proofs {
		if err := checkProof(path, key); err != nil {
			return "", fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
	}
	return fmt.Sprintf("%d records, %d consistency proofs, %d proof files", len(all), count, len(proofs)), nil
}

func main() {
	key, err := note.NewVerifier(os.Args[1])
	if err != nil {
		fmt.Println("refused: the key:", err)
		os.Exit(1)
	}
	status := 0
	for _, directory := range os.Args[2:] {
		if found, err := verify(directory, key); err != nil {
			status = 1
			fmt.Printf("refused %s: %v\n", filepath.Base(directory), err)
		} else {
			fmt.Printf("ok %s: %s\n", filepath.Base(directory), found)
		}
	}
	os.Exit(status)
}

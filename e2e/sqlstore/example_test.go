package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/kest-go/kest/store/sqlstore"
)

// Processes of one machine share claim checks in a file.
func Example() {
	dir, err := os.MkdirTemp("", "kest-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "claims.db")
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(2000)")
	if err != nil {
		panic(err)
	}
	defer db.Close()
	ctx := context.Background()
	claims, err := sqlstore.Open(ctx, db, sqlstore.Config{Dialect: sqlstore.SQLite})
	if err != nil {
		panic(err)
	}
	defer claims.Close()
	fmt.Println(claims.Put(ctx, "kest.claim.1", []byte("a large passport"), 300*time.Second))
	fmt.Println(claims.Put(ctx, "kest.claim.1", []byte("another one"), 300*time.Second))
	passport, err := claims.Get(ctx, "kest.claim.1")
	fmt.Printf("%s %v\n", passport, err)
	// Output:
	// <nil>
	// store: key was written before
	// a large passport <nil>
}

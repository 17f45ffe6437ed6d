# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # this file and launch_tpu.sh share their variables
# What launch_tpu.sh checks before anything is billable; it reads this file. A mistake is one line that
# names the nearest valid choice, and exit code 2. Offline checks come first, then those that ask Google.

# The one table of what Google offers, as its pages said on this date. The first zone is the example in
# messages. Sizes of v5p and v4 count TensorCores, of which a chip has two; those of the others, chips.
TABLE_DATE=2026-11-30
table() { # generation, runtime version, numbers per chip, sizes, zones
  cat <<'END'
v5litepod v2-alpha-tpuv5-lite 1 1,4,8,16,32,64,128,256 us-central1-a,us-south1-a,us-west1-c,us-west4-a,us-east5-a,us-east5-b,us-east5-c
v6e v2-alpha-tpuv6e 1 1,4,8,16,32,64,128,256 us-central1-b,us-east1-d,us-east5-a,us-east5-b
v5p v2-alpha-tpuv5 2 8,16,32,64,128,256,512,1024,2048,4096,8192,12288 us-central1-a,us-east5-a
v4 tpu-ubuntu2204-base 2 8,16,32,64,128,256,512,1024,2048 us-central2-b
END
}
lines() { printf '%s\n' "$1" | tr , '\n'; } # the items of a list with commas
column() { lines "$(table | cut -d' ' -f"$1")" | sort -u; }
row_of() { table | awk '$1 == word' word="$1"; }
PRICES=https://cloud.google.com/tpu/pricing
QUOTA=https://cloud.google.com/tpu/docs/quota

nearest() { # WORD: the line of standard input that takes the fewest edits; numbers go by their distance
  awk 'function edits(a, b,   i, j, d) {
      for (i = 0; i <= length(a); i++) d[i, 0] = i
      for (j = 0; j <= length(b); j++) d[0, j] = j
      for (i = 1; i <= length(a); i++) for (j = 1; j <= length(b); j++) {
        d[i, j] = d[i-1, j-1] + (substr(a, i, 1) != substr(b, j, 1))
        if (d[i-1, j] + 1 < d[i, j]) d[i, j] = d[i-1, j] + 1
        if (d[i, j-1] + 1 < d[i, j]) d[i, j] = d[i, j-1] + 1
      }
      return d[length(a), length(b)]
    }
    BEGIN { word = ARGV[1]; ARGV[1] = "-" }
    {
      now = (word $0) ~ /^[0-9]+$/ ? (word - $0) ^ 2 : edits(word, $0)
      if (index($0, word) == 1) now -= 0.5
      if (NR == 1 || now < best) { best = now; answer = $0 }
    }
    END { print answer }' "$1"
}

slug() { printf %s "$1" | tr '[:upper:]' '[:lower:]' | tr -c 'a-z0-9' '-' | sed 's/^[^a-z]*//; s/-*$//'; }

need() { # FLAG VALUE EXAMPLE
  [ -n "$2" ] || usage_error "missing --$1=; for example --$1=$3"
}

check_place() {
  need project "$project" my-project
  need zone "$zone" us-central1-a
  [ -n "$name" ] || usage_error "missing --name=, or the --config= that it is made from"
  case $name in
    *[!a-z0-9-]* | [!a-z]* | *-)
      usage_error "--name=$name: lower case letters, digits and hyphens; for example $(slug "$name")" ;;
  esac
  [ ${#name} -le 60 ] || usage_error "--name=$name: at most 60 characters; for example ${name:0:60}"
  case $zone in
    [a-z]*-[a-z]*[0-9]-[a-z]) ;;
    *) usage_error "--zone=$zone is no zone; did you mean $(column 5 | nearest "$zone")?" ;;
  esac
}

check_type() {
  local generation=${tpu%-*} size=${tpu##*-} row per_chip sizes
  need tpu "$tpu" v5litepod-16
  case $generation in v5e | v5lite) usage_error "--tpu=$tpu: Google calls it v5litepod-$size" ;; esac
  row=$(row_of "$generation")
  [ -n "$row" ] ||
    usage_error "--tpu=$tpu is no type of $TABLE_DATE; did you mean $(column 1 | nearest "$generation")-$size?"
  read -r _ type_image per_chip sizes zones <<END
$row
END
  case ,$sizes, in
    *",$size,"*) ;;
    *) usage_error "--tpu=$tpu is no size of $TABLE_DATE; did you mean $generation-$(lines "$sizes" | nearest "$size")?" ;;
  esac
  chips=$((size * slices / per_chip))
  [ -n "$image" ] || image=$type_image
  case $image in
    "$type_image" | tpu-ubuntu2204-base) ;;
    *) usage_error "--image=$image does not start $tpu; did you mean $type_image?" ;;
  esac
  # Zones come and go, so the table warns and Google decides, in check_with_google.
  case ,$zones, in
    *",$zone,"*) ;;
    *) say "warning: the table of $TABLE_DATE has no $generation in $zone, but in ${zones//,/, }" ;;
  esac
}

check_choices() {
  case "$spot$reserved$flex" in
    '' | yes) ;;
    *) usage_error "--spot, --reserved and --flex-start exclude each other; choose one" ;;
  esac
  [ -z "$direct$flex" ] || [ "$direct$flex" = yes ] || usage_error "--direct has no --flex-start; use the queue"
  [ -z "$max_run" ] || [ -n "$flex" ] || usage_error "--max-run=$max_run: only with --flex-start"
  case $slices in [1-9] | [1-9][0-9]) ;; *) usage_error "--slices=$slices: a number, such as --slices=2" ;; esac
  case $attempts in [1-9] | [1-9][0-9]) ;; *) usage_error "--attempts=$attempts: a number, such as --attempts=5" ;; esac
  [ -z "$direct" ] || [ "$slices" = 1 ] || usage_error "--direct makes one slice; leave it out for --slices=$slices"
}

check_bucket_name() {
  need bucket "$bucket" gs://my-bucket
  bucket=${bucket#gs://}
  bucket=${bucket%/}
  case $bucket in
    *[!a-z0-9._-]* | [!a-z0-9]* | *[!a-z0-9] | ? | ??)
      usage_error "--bucket=$bucket is no name of a bucket; did you mean gs://$(slug "${bucket%%/*}")?" ;;
  esac
}

check_config() {
  local file=${config%%:*}
  need config "$config" configs/rope.py
  [ -f "$file" ] || [ -f "configs/$file.py" ] ||
    usage_error "--config=$config: no such file; did you mean $(printf "%s\n" configs/*.py | nearest "$file")?"
}

check_commit() {
  commit=$(git rev-parse --short=12 HEAD 2>/dev/null) ||
    usage_error "$PWD is no git clone, and the commit must be recorded; clone the repository"
  [ -n "$(git status --porcelain)" ] || return 0
  [ -n "$allow_dirty" ] ||
    usage_error "there are changes that are not committed; commit them, or send them with --allow-dirty"
  commit=$commit-dirty
}

check_with_google() {
  local location region=${zone%-*}
  say "check the bucket, the type and the image; nothing is billable yet"
  [ -n "$dry_run" ] || command -v gcloud >/dev/null ||
    usage_error "gcloud is not installed: https://cloud.google.com/sdk/docs/install"
  location=$(ask "$region" gcloud storage buckets describe "gs://$bucket" --project="$project" \
    --format='value(location)') ||
    usage_error "--bucket=gs://$bucket cannot be read: $(said)"
  location=$(printf %s "$location" | tr '[:upper:]' '[:lower:]')
  case $location in
    "$region") ;;
    *-*) usage_error "--bucket=gs://$bucket is in $location, the machines in $region; choose a bucket in $region" ;;
    *) say "warning: gs://$bucket is in $location, the machines in $region" ;; # us, eu, nam4: several regions
  esac
  ask "$tpu" gcloud compute tpus tpu-vm accelerator-types describe "$tpu" "${at[@]}" >/dev/null ||
    usage_error "--tpu=$tpu is not offered in --zone=$zone; did you mean $(lines "$zones" | nearest "$zone")? $(said)"
  ask "$image" gcloud compute tpus tpu-vm versions describe "$image" "${at[@]}" >/dev/null ||
    usage_error "--image=$image is not offered in --zone=$zone; did you mean $type_image? $(said)"
}

state_cost() {
  local how=on-demand
  [ -z "$spot" ] || how=spot
  [ -z "$reserved" ] || how=reserved
  [ -z "$flex" ] || how="flex-start, at most $max_run"
  say "cost: $chips chips ($slices x $tpu, $how): $chips chip-hours for each hour until they are deleted"
  say "cost: an estimate from the table of $TABLE_DATE. Prices differ by region and are not kept here: $PRICES"
}

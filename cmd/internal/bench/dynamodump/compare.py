import json, os, sys

def backup(folder):
    items = {}
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name)) as file:
            for item in json.load(file)["Items"]:
                items[item["k"]["S"]] = item
    return items

count, source, target = int(sys.argv[1]), backup(sys.argv[2]), backup(sys.argv[3])
if len(source) != count:
    sys.exit("the backup of the source has %d items of %d" % (len(source), count))
sys.exit(0 if source == target else 3)
